/*
 * Threads that wait in hooks.connect, so that the event loop does not. Submitting, abandoning and
 * taking results is for the loop's thread only.
 */
#pragma once

#include <stdbool.h>

#include "server/gateway/limits.h"

struct pool;
struct pool_job;

/* wake_fd: an eventfd that is written to whenever there is a result. */
int pool_new(const struct gateway_hooks *hooks, const struct gateway_limits *limits, int wake_fd,
             struct pool **ret_pool, struct err *err);
/* Waits for the hooks that are running; closes the sockets that nobody took. */
void pool_free(struct pool *pool);

/* Owned by the pool. NULL: too many wait already. */
struct pool_job *pool_submit(struct pool *pool, const char *preview_id, void *owner);
/* Its owner is gone: the job may no longer be used. */
void pool_abandon(struct pool *pool, struct pool_job *job);
/* The next owner to be told; false: none. ret_result is a socket, now the owner's, or -errno. The
 * job is gone. */
bool pool_take(struct pool *pool, void **ret_owner, int *ret_result);
