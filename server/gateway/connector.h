/*
 * Threads that wait in hooks.connect, so that the event loop does not. Submitting, abandoning and
 * taking results is for the loop's thread only.
 */
#pragma once

#include <stdbool.h>

#include "server/gateway/limits.h"

struct connector;
struct connector_job;

/* wake_fd: an eventfd that is written to whenever there is a result. */
int connector_new(const struct gateway_hooks *hooks, const struct gateway_limits *limits,
                  int wake_fd, struct connector **ret_connector, struct err *err);
/* Waits for the hooks that are running; closes the sockets that nobody took. */
void connector_free(struct connector *connector);

/* Owned by the connector. NULL: too many wait already. */
struct connector_job *connector_submit(struct connector *connector, const char *preview_id,
                                       void *owner);
/* Its owner is gone: the job may no longer be used. */
void connector_abandon(struct connector *connector, struct connector_job *job);
/* The next owner to be told; false: none. ret_result is a socket, now the owner's, or -errno. The
 * job is gone. */
bool connector_take(struct connector *connector, void **ret_owner, int *ret_result);
