/*
 * The gRPC engine: completion queues, calls, streams, status. The only place that knows gRPC.
 *
 * Handlers are typed functions over protobuf-c messages. Unary handlers, `open`, `message` and
 * `finish` run on a pool of worker threads and may block for as long as their bounds allow. `pull`
 * runs on a stream thread and must not block on anything but a local file. One call is worked on by
 * one thread at a time.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>

#include "server/rpc/method_table.h"
#include "server/util/arena.h"
#include "server/util/bytes.h"
#include "server/util/err.h"
#include "server/util/id.h"
#include "server/util/status.h"

struct rpc_server;
struct rpc_call;

#define RPC_ACTOR_SIZE 48

/* Who calls. Filled by the authorize hook, as far as it is known also when it refuses. */
struct rpc_caller {
    bool operator;
    char project_id[ID_SIZE];   /* empty only where a method is for anyone */
    char key_id[ID_SIZE];       /* empty for operators */
    char session_id[ID_SIZE];   /* of an operator who logged in; empty over the unix socket */
    char actor[RPC_ACTOR_SIZE]; /* "key_…", "operator:NAME", "operator:local", "anonymous" */
    uint64_t expire_ms;         /* of the wall clock: it ends by itself; 0: never */
};

/* The server's context: what handlers work on. */
void *rpc_call_context(const struct rpc_call *call);
/* Valid during the call. */
struct arena *rpc_call_arena(struct rpc_call *call);
struct rpc_server *rpc_call_server(const struct rpc_call *call);
const struct rpc_caller *rpc_call_caller(const struct rpc_call *call);
const char *rpc_call_request_id(const struct rpc_call *call); /* "req_…", made for each call */
const struct rpc_method *rpc_call_method(const struct rpc_call *call);
/* The request as it came over the wire: of unary calls, and of server streams during `open`. */
struct bytes rpc_call_request_bytes(const struct rpc_call *call);
/* Metadata of the client by its lower-case name, or NULL; a string of the call's arena. */
const char *rpc_call_metadata(struct rpc_call *call, const char *name);
/*
 * Tells the client something beside the answer: in the initial metadata of a call that goes well,
 * in the trailing metadata of one that is refused. Of a stream during `open` only. name: a literal
 * in lower case; value: printable ASCII, copied. At most RPC_METADATA_MAX of them, the rest is
 * lost.
 */
#define RPC_METADATA_MAX 6
void rpc_call_set_metadata(struct rpc_call *call, const char *name, const char *value);
/* Whether the client is gone or has cancelled. */
bool rpc_call_cancelled(const struct rpc_call *call);

/*
 * Decides whether the call may go on, and for whom; runs on a worker. local: over the unix socket.
 */
typedef struct status rpc_authorize_fn(void *context, struct rpc_call *call, bool local,
                                       struct rpc_caller *ret_caller);

/*
 * Whether the caller of an open stream may still go on: not OK ends the stream with that status.
 * Is called for many streams in a row and must not block.
 */
typedef struct status rpc_recheck_fn(void *arg, const struct rpc_caller *caller);

/* response is initialised; what it points to comes from the call's arena. */
typedef struct status rpc_unary_fn(struct rpc_call *call, const void *request, void *response);

/* Wakes a server stream whose pull had nothing: from any thread, at any time, also after its end.
 */
struct rpc_waker;
struct rpc_waker *rpc_call_waker(struct rpc_call *call); /* a reference of the caller's */
void rpc_waker_wake(struct rpc_waker *waker);
void rpc_waker_unref(struct rpc_waker *waker);

enum rpc_pull {
    RPC_PULL_MESSAGE, /* response was filled */
    RPC_PULL_WAIT,    /* nothing now: pull again after a wake */
    RPC_PULL_END,     /* the stream ends with *ret_status */
};

struct rpc_server_stream_ops {
    struct status (*open)(struct rpc_call *call, const void *request, void **ret_state);
    /* The arena is reset after each message was packed: nothing of state may live in it. */
    enum rpc_pull (*pull)(struct rpc_call *call, void *state, void *response,
                          struct status *ret_status);
    /* Once, after a successful open, whether the stream ended or was cut. */
    void (*close)(void *state);
};

struct rpc_client_stream_ops {
    struct status (*open)(struct rpc_call *call, void **ret_state);
    struct status (*message)(struct rpc_call *call, void *state, const void *request);
    struct status (*finish)(struct rpc_call *call, void *state, void *response);
    /* Once, after a successful open. */
    void (*close)(void *state);
};

/* Exactly the member that fits the method's kind is set. */
struct rpc_handler {
    rpc_unary_fn *unary;
    const struct rpc_server_stream_ops *server_stream;
    const struct rpc_client_stream_ops *client_stream;
};

struct rpc_server_options {
    const struct rpc_handler *handlers; /* RPC_METHOD_COUNT of them, indexed by method id */
    struct bytes descriptors;           /* FileDescriptorSet for reflection; kept by reference */
    rpc_authorize_fn *authorize;
    rpc_recheck_fn *recheck; /* asked for each open stream once a second; may be NULL */
    void *context;           /* what rpc_call_context returns */
};

int rpc_server_new(const struct rpc_server_options *options, struct rpc_server **ret_server,
                   struct err *err);
/* Serves HTTP/2 on a connected socket, which it takes. local: over the unix socket. */
void rpc_server_adopt(struct rpc_server *server, int fd, bool local);
/*
 * Asks about every open stream at once, streams that wait for an event included, and also about
 * those whose authorization is under way. From any thread.
 */
void rpc_server_recheck(struct rpc_server *server, rpc_recheck_fn *recheck, void *arg);
/* What grpc.health.v1 answers from now on. */
void rpc_server_set_serving(struct rpc_server *server, bool serving);
/*
 * Refuses new calls, waits up to grace_ms for those under way, then cancels what is left. Returns
 * when the last handler did: no handler runs afterwards.
 */
void rpc_server_drain(struct rpc_server *server, unsigned grace_ms);
void rpc_server_free(struct rpc_server *server);
