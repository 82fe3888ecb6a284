/* The server's inside. Private to the engine. */
#pragma once

#include <grpc/grpc.h>
#include <pthread.h>
#include <stdatomic.h>

#include "server/rpc/pool.h"
#include "server/rpc/rpc.h"
#include "server/rpc/tag.h"

struct health;
struct reflection;

/* A bidirectional stream of questions and answers; only reflection is one. Runs on a worker. */
typedef struct status rpc_bidi_fn(struct rpc_call *call, const void *request, void *response);

/* A method with what serves it. */
struct route {
    const struct rpc_method *method;
    struct rpc_handler handler;
    rpc_bidi_fn *bidi;
    bool open;     /* needs no caller: health and reflection */
    unsigned lane; /* of the pool */
};

/* Methods of our own beside the contract's. */
enum builtin {
    BUILTIN_HEALTH_CHECK,
    BUILTIN_HEALTH_WATCH,
    BUILTIN_REFLECTION_V1,
    BUILTIN_REFLECTION_V1ALPHA,
    BUILTIN_COUNT,
};

#define ROUTE_COUNT (RPC_METHOD_COUNT + BUILTIN_COUNT)

struct queue {
    grpc_completion_queue *cq;
    pthread_t thread;
    bool started;
};

/* Where calls come in: one gRPC server, and either one streaming method or all unary ones. */
struct listener {
    struct rpc_server *server;
    grpc_server *grpc;
    bool local;
    struct queue *notify;      /* hears of new calls */
    const struct route *route; /* NULL: any method by its path */
    void *registered;
};

enum { SERVER_TCP, SERVER_LOCAL, SERVER_COUNT };

/* The open streams with their callers, for rpc_server_recheck. */
struct roll {
    pthread_mutex_t mutex;
    struct rpc_call *first;
    uint64_t generation; /* how often all were asked */
    pthread_t thread;
    pthread_cond_t stop;
    bool started, stopping;
};

struct rpc_server {
    struct rpc_server_options options;
    struct route routes[ROUTE_COUNT];
    grpc_server *grpc[SERVER_COUNT];
    grpc_server_credentials *insecure;
    struct health *health;
    struct reflection *reflection;
    struct pool *pool;

    /* Polling queues do the network's work and unary calls; each stream is bound to one of the
     * others, because a completion costs time for every operation outstanding on its queue. */
    struct queue *polling;
    unsigned polling_count;
    struct queue *streams;
    unsigned stream_count;
    atomic_uint next_stream;
    struct listener *listeners;
    unsigned listener_count;

    atomic_uint unary_running;
    atomic_uint streams_running;
    struct roll roll;

    pthread_mutex_t mutex;
    pthread_cond_t changed;
    unsigned calls; /* call objects in being, those in waiting included */
    bool listening;
    bool draining;
    unsigned servers_down;
    struct tag tag_down;
};

/* Takes a call object into account; it must be given back with engine_call_gone. */
void engine_call_made(struct rpc_server *server);
void engine_call_gone(struct rpc_server *server);
/* Whether new calls are still taken from gRPC. */
bool engine_draining(struct rpc_server *server);
const struct route *engine_find(const struct rpc_server *server, struct bytes path);
grpc_completion_queue *engine_next_stream_queue(struct rpc_server *server);

void roll_init(struct roll *roll);
/* Starts the thread that asks once in a while. */
int roll_start(struct rpc_server *server, struct err *err);
void roll_done(struct roll *roll);
