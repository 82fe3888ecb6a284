/*
 * Worker threads for whatever may block. Jobs wait in lanes (one for each method), lanes are served
 * in turn, and no lane occupies more than a share of the workers: methods that block for long
 * cannot starve those that do not. A job is part of its owner and is in the pool at most once, so
 * the pool allocates nothing; its length is bounded by the number of calls admitted.
 */
#pragma once

struct pool;

struct pool_job {
    void (*run)(void *owner);
    void *owner;
    unsigned lane;
    struct pool_job *next;
};

/* Returns NULL when the threads cannot be had. */
struct pool *pool_new(unsigned workers, unsigned lanes, unsigned lane_workers);
/* From any thread. The job may be reused or freed as soon as run was called. */
void pool_submit(struct pool *pool, struct pool_job *job);
/* Runs what is still queued, then ends the threads. */
void pool_free(struct pool *pool);
