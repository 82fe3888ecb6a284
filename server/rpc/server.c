#include <errno.h>
#include <grpc/grpc_posix.h>
#include <grpc/grpc_security.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "server/rpc/builtin.h"
#include "server/rpc/call.h"
#include "server/rpc/channel_args.h"
#include "server/rpc/deadlock.h"
#include "server/util/cleanup.h"
#include "server/util/limits.h"

#define GENERIC_SLOTS 32       /* calls a queue may take before we ask for more */
#define STREAM_SLOTS 8         /* the same, of one streaming method */
#define STREAM_QUEUES_A_CORE 4 /* a stream's event costs with the streams on its queue */
/* No method holds more of the workers than this, and no project, whatever methods it calls. */
#define LANE_WORKERS (LIMIT_WORKERS * 3 / 16)
#define PROJECT_WORKERS (LIMIT_WORKERS / 4)

void engine_call_made(struct rpc_server *server)
{
    lock_scope(&server->mutex);
    server->calls++;
}

void engine_call_gone(struct rpc_server *server)
{
    lock_scope(&server->mutex);
    if (--server->calls == 0)
        (void)pthread_cond_broadcast(&server->changed);
}

bool engine_draining(struct rpc_server *server)
{
    lock_scope(&server->mutex);
    return server->draining;
}

const struct route *engine_find(const struct rpc_server *server, struct bytes path)
{
    int id = rpc_method_find((const char *)path.data, path.size);

    if (id >= 0)
        return &server->routes[id];
    for (size_t i = RPC_METHOD_COUNT; i < ROUTE_COUNT; i++) {
        const char *name = server->routes[i].method->path;

        if (strlen(name) == path.size && memcmp(name, path.data, path.size) == 0)
            return &server->routes[i];
    }
    return NULL;
}

grpc_completion_queue *engine_next_stream_queue(struct rpc_server *server)
{
    unsigned next = atomic_fetch_add(&server->next_stream, 1);

    return server->streams[next % server->stream_count].cq;
}

/* Threads */

static void *queue_main(void *arg)
{
    struct queue *queue = arg;

    for (;;) {
        grpc_event event =
            grpc_completion_queue_next(queue->cq, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);

        if (event.type == GRPC_QUEUE_SHUTDOWN)
            return NULL;
        struct tag *tag = event.tag;

        tag->done(tag->owner, event.success != 0);
    }
}

static int start_queue(struct queue *queue, struct err *err)
{
    sigset_t all, before;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(&queue->thread, NULL, queue_main, queue);

    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code != 0)
        return err_set(err, code, "cannot start a thread for gRPC");
    queue->started = true;
    return 0;
}

static int start_queues(struct rpc_server *server, struct err *err)
{
    for (unsigned i = 0; i < server->polling_count + server->stream_count; i++) {
        struct queue *queue = i < server->polling_count
                                  ? &server->polling[i]
                                  : &server->streams[i - server->polling_count];
        int code = start_queue(queue, err);

        if (code)
            return code;
    }
    return 0;
}

static void make_queues(struct rpc_server *server)
{
    grpc_completion_queue_attributes attributes = {
        .version = GRPC_CQ_CURRENT_VERSION,
        .cq_completion_type = GRPC_CQ_NEXT,
        .cq_polling_type = GRPC_CQ_NON_POLLING,
    };
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    server->polling_count = cores > 0 ? (unsigned)cores : 1;
    server->stream_count = server->polling_count * STREAM_QUEUES_A_CORE;
    server->polling = calloc(server->polling_count, sizeof(*server->polling));
    server->streams = calloc(server->stream_count, sizeof(*server->streams));
    if (!server->polling || !server->streams)
        abort();
    for (unsigned i = 0; i < server->polling_count; i++)
        server->polling[i].cq = grpc_completion_queue_create_for_next(NULL);
    for (unsigned i = 0; i < server->stream_count; i++)
        server->streams[i].cq = grpc_completion_queue_create(
            grpc_completion_queue_factory_lookup(&attributes), &attributes, NULL);
}

/* Methods */

static bool is_stream(const struct route *route)
{
    return route->method->client_streaming || route->method->server_streaming;
}

static void make_routes(struct rpc_server *server)
{
    for (unsigned i = 0; i < RPC_METHOD_COUNT; i++) {
        server->routes[i].method = &rpc_methods[i];
        server->routes[i].handler = server->options.handlers[i];
    }
    health_routes(server->routes + RPC_METHOD_COUNT);
    reflection_routes(server->routes + RPC_METHOD_COUNT);
    for (unsigned i = 0; i < ROUTE_COUNT; i++)
        server->routes[i].lane = i;
}

static int check_routes(const struct rpc_server *server, struct err *err)
{
    for (unsigned i = 0; i < ROUTE_COUNT; i++) {
        const struct route *route = &server->routes[i];
        const struct rpc_method *method = route->method;
        bool served = method->client_streaming && method->server_streaming ? route->bidi != NULL
                      : method->client_streaming ? route->handler.client_stream != NULL
                      : method->server_streaming ? route->handler.server_stream != NULL
                                                 : route->handler.unary != NULL;

        if (!served)
            return err_set(err, EINVAL, "no handler serves %s", method->name);
    }
    return 0;
}

static void add_listener(struct rpc_server *server, unsigned which, unsigned queue,
                         const struct route *route, void *registered)
{
    server->listeners[server->listener_count++] = (struct listener){
        .server = server,
        .grpc = server->grpc[which],
        .local = which == SERVER_LOCAL,
        .notify = &server->polling[queue % server->polling_count],
        .route = route,
        .registered = registered,
    };
}

/* Streaming methods are registered, so that gRPC asks us which queue to bind each call to before
 * it reads anything of it. */
static void make_listeners(struct rpc_server *server)
{
    server->listeners =
        calloc(SERVER_COUNT * (server->polling_count + ROUTE_COUNT), sizeof(*server->listeners));
    if (!server->listeners)
        abort();
    for (unsigned which = 0; which < SERVER_COUNT; which++) {
        for (unsigned i = 0; i < server->polling_count; i++)
            add_listener(server, which, i, NULL, NULL);
        for (unsigned i = 0; i < ROUTE_COUNT; i++) {
            const struct route *route = &server->routes[i];

            if (!is_stream(route))
                continue;
            add_listener(server, which, i, route,
                         grpc_server_register_method(server->grpc[which], route->method->path, NULL,
                                                     GRPC_SRM_PAYLOAD_NONE, 0));
        }
    }
}

static uint32_t largest_request(const struct rpc_server *server)
{
    uint32_t largest = 0;

    for (unsigned i = 0; i < ROUTE_COUNT; i++)
        if (server->routes[i].method->max_request_bytes > largest)
            largest = server->routes[i].method->max_request_bytes;
    return largest;
}

static void make_servers(struct rpc_server *server)
{
    struct channel_args args;

    channel_args_init(&args, largest_request(server));
    for (unsigned which = 0; which < SERVER_COUNT; which++) {
        server->grpc[which] = grpc_server_create(&args.args, NULL);
        for (unsigned i = 0; i < server->polling_count; i++)
            grpc_server_register_completion_queue(server->grpc[which], server->polling[i].cq, NULL);
    }
    channel_args_done(&args);
}

static void start_listening(struct rpc_server *server)
{
    server->listening = true;
    for (unsigned which = 0; which < SERVER_COUNT; which++)
        grpc_server_start(server->grpc[which]);
    for (unsigned i = 0; i < server->listener_count; i++) {
        struct listener *listener = &server->listeners[i];

        for (unsigned slot = 0; slot < (listener->route ? STREAM_SLOTS : GENERIC_SLOTS); slot++)
            call_request(listener);
    }
}

static int make_parts(struct rpc_server *server, struct err *err)
{
    server->health = health_new();
    server->reflection = reflection_new(server->options.descriptors);
    if (!server->reflection)
        return err_set(err, EINVAL, "the embedded descriptors are damaged");
    server->pool = pool_new(LIMIT_WORKERS, ROUTE_COUNT, LANE_WORKERS, PROJECT_WORKERS);
    if (!server->pool)
        return err_set(err, EAGAIN, "cannot start %d worker threads", LIMIT_WORKERS);
    return 0;
}

static struct rpc_server *server_alloc(const struct rpc_server_options *options)
{
    struct rpc_server *server = calloc(1, sizeof(*server));
    pthread_condattr_t monotonic;

    if (!server)
        abort();
    server->options = *options;
    (void)pthread_mutex_init(&server->mutex, NULL);
    roll_init(&server->roll);
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&server->changed, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    server->insecure = grpc_insecure_server_credentials_create();
    return server;
}

/* For the life of the process: gRPC's own shutdown waits up to ten seconds for a poll of its own to
 * run out, and nobody is left to gain from it. */
static void init_grpc(void)
{
    deadlock_detection_off();
    grpc_init();
}

int rpc_server_new(const struct rpc_server_options *options, struct rpc_server **ret_server,
                   struct err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    (void)pthread_once(&once, init_grpc);
    struct rpc_server *server = server_alloc(options);

    make_routes(server);
    make_queues(server);
    make_servers(server);
    make_listeners(server);
    int code = check_routes(server, err);

    if (!code)
        code = make_parts(server, err);
    if (!code)
        code = start_queues(server, err);
    if (!code)
        code = roll_start(server, err);
    if (code) {
        rpc_server_free(server);
        return code;
    }
    start_listening(server);
    *ret_server = server;
    return 0;
}

void rpc_server_adopt(struct rpc_server *server, int fd, bool local)
{
    lock_scope(&server->mutex);
    if (server->draining)
        (void)close(fd);
    else
        grpc_server_add_channel_from_fd(server->grpc[local ? SERVER_LOCAL : SERVER_TCP], fd,
                                        server->insecure);
}

void rpc_server_set_serving(struct rpc_server *server, bool serving)
{
    health_set(server->health, serving);
}

/* The end */

static void on_down(void *owner, bool ok)
{
    struct rpc_server *server = owner;

    (void)ok;
    lock_scope(&server->mutex);
    server->servers_down++;
    (void)pthread_cond_broadcast(&server->changed);
}

static struct timespec after_ms(unsigned ms)
{
    struct timespec at;

    (void)clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += ms / 1000;
    at.tv_nsec += (long)(ms % 1000) * 1000000;
    if (at.tv_nsec >= 1000000000) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000;
    }
    return at;
}

static bool begin_drain(struct rpc_server *server)
{
    lock_scope(&server->mutex);
    bool first = !server->draining;

    server->draining = true;
    return first;
}

/* gRPC is done with its connections before we are done with their calls. */
static bool is_drained(const struct rpc_server *server)
{
    return server->servers_down == SERVER_COUNT && server->calls == 0;
}

void rpc_server_drain(struct rpc_server *server, unsigned grace_ms)
{
    struct timespec end = after_ms(grace_ms);

    if (begin_drain(server)) {
        server->tag_down = (struct tag){on_down, server};
        for (unsigned which = 0; which < SERVER_COUNT; which++)
            grpc_server_shutdown_and_notify(server->grpc[which], server->polling[0].cq,
                                            &server->tag_down);
    }
    lock_scope(&server->mutex);
    while (!is_drained(server) &&
           pthread_cond_timedwait(&server->changed, &server->mutex, &end) == 0)
        ;
    if (is_drained(server))
        return;
    (void)pthread_mutex_unlock(&server->mutex);
    for (unsigned which = 0; which < SERVER_COUNT; which++)
        grpc_server_cancel_all_calls(server->grpc[which]);
    (void)pthread_mutex_lock(&server->mutex);
    while (!is_drained(server))
        (void)pthread_cond_wait(&server->changed, &server->mutex);
}

static void end_queues(struct queue *queues, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        grpc_completion_queue_shutdown(queues[i].cq);
    for (unsigned i = 0; i < count; i++) {
        if (queues[i].started)
            (void)pthread_join(queues[i].thread, NULL);
        else
            (void)queue_main(&queues[i]);
        grpc_completion_queue_destroy(queues[i].cq);
    }
    free(queues);
}

void rpc_server_free(struct rpc_server *server)
{
    if (!server)
        return;
    if (server->listening)
        rpc_server_drain(server, 0);
    roll_done(&server->roll);
    pool_free(server->pool);
    for (unsigned which = 0; which < SERVER_COUNT; which++)
        grpc_server_destroy(server->grpc[which]);
    end_queues(server->polling, server->polling_count);
    end_queues(server->streams, server->stream_count);
    grpc_server_credentials_release(server->insecure);
    health_free(server->health);
    reflection_free(server->reflection);
    free(server->listeners);
    (void)pthread_cond_destroy(&server->changed);
    (void)pthread_mutex_destroy(&server->mutex);
    free(server);
}
