/* The gateway's inside, for its own files: everything here belongs to the loop's thread, except
 * where said. */
#pragma once

#include <event2/buffer.h>
#include <event2/event.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/queue.h>

#include "server/gateway/connector.h"
#include "server/gateway/credential.h"
#include "server/gateway/limits.h"

struct connection;

LIST_HEAD(connection_list, connection);

struct gateway {
    char *domain;
    struct gateway_hooks hooks;
    struct gateway_limits limits;
    struct credential_key key;
    struct event_base *base;
    struct event *wake;
    struct event *recheck;
    struct connector *connector;
    struct connection_list connections;
    struct evbuffer *scratch; /* decoded body on its way; empty between events */
    pthread_t thread;
    bool started;
    int wake_fd;            /* any thread */
    atomic_uint open;       /* connections adopted and not yet closed; any thread */
    pthread_mutex_t mutex;  /* of what follows; any thread */
    int *adopted;           /* sockets that the loop has not seen yet */
    uint32_t adopted_count; /* at most limits.connections */
    bool stopping;
};
