/*
 * The connections into sandboxes. Each has a thread of its own, which waits in hooks.connect and
 * then stands between the sandbox's socket and one end of a pair of ours (passage.h), of which the
 * event loop gets the other: whatever a sandbox does with its socket, nobody but its own visitors
 * waits. Sandboxes are held apart by a share for each.
 *
 * Functions are for the loop's thread only.
 */
#pragma once

#include <stdbool.h>

#include "server/gateway/limits.h"

struct connector;
struct connector_job;

/* wake_fd: an eventfd that is written to whenever there is a result. */
struct connector *connector_new(const struct gateway_hooks *hooks,
                                const struct gateway_limits *limits, int wake_fd);
/* Waits for the hooks that are running; closes the sockets that nobody took. The threads of those
 * that were taken end when these are closed, which may be after this. */
void connector_free(struct connector *connector);

/* Owned by the connector. NULL: too many are open, of this sandbox or of all. */
struct connector_job *connector_submit(struct connector *connector, const char *sandbox_id,
                                       const char *preview_id, void *owner);
/* Its owner is gone: the job may no longer be used. */
void connector_abandon(struct connector *connector, struct connector_job *job);
/* The next owner to be told; false: none. ret_result is a non-blocking socket, now the owner's, or
 * -errno. The job is gone. */
bool connector_take(struct connector *connector, void **ret_owner, int *ret_result);
