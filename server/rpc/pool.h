/*
 * Worker threads for whatever may block. Jobs wait in lanes (one for each method), lanes are served
 * in turn, and no lane occupies more than a share of the workers: methods that block for long
 * cannot starve those that do not. A job is part of its owner and is in the pool at most once, so
 * the pool allocates nothing for it; its length is bounded by the number of calls admitted.
 *
 * A job that learns whom it works for may enter that tenant: tenants too occupy no more than a
 * share of the workers, whatever methods they call.
 */
#pragma once

#include <stdbool.h>

struct pool;

struct pool_job {
    void (*run)(void *owner);
    void *owner;
    unsigned lane;
    struct pool_job *next;
};

/* Returns NULL when the threads cannot be had. */
struct pool *pool_new(unsigned workers, unsigned lanes, unsigned lane_workers,
                      unsigned tenant_workers);
/* From any thread. The job may be reused or freed as soon as run was called. */
void pool_submit(struct pool *pool, struct pool_job *job);
/*
 * From a job that runs. True: it goes on for the tenant, and must leave. False: the tenant is at
 * its share; the job is the pool's again, must not go on, and is run once more when it is its turn,
 * having entered then.
 */
bool pool_enter(struct pool *pool, struct pool_job *job, const char *tenant);
void pool_leave(struct pool *pool, const char *tenant);
/* Runs what is still queued, then ends the threads. */
void pool_free(struct pool *pool);
