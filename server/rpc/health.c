#include <stdlib.h>

#include "private/grpc_health.pb-c.h"
#include "server/rpc/builtin.h"
#include "server/rpc/call.h"
#include "server/util/cleanup.h"

#define REQUEST_BYTES 1024

/* One Watch: what it was told last. */
struct watcher {
    struct health *health;
    struct rpc_waker *waker;
    bool known; /* the service it asked for exists */
    int told;   /* -1: nothing yet */
    struct watcher *next, **link;
};

struct health {
    pthread_mutex_t mutex;
    bool serving;
    struct watcher *watchers;
};

struct health *health_new(void)
{
    struct health *health = calloc(1, sizeof(*health));

    if (!health)
        abort();
    (void)pthread_mutex_init(&health->mutex, NULL);
    return health;
}

void health_free(struct health *health)
{
    if (!health)
        return;
    (void)pthread_mutex_destroy(&health->mutex);
    free(health);
}

void health_set(struct health *health, bool serving)
{
    lock_scope(&health->mutex);
    health->serving = serving;
    for (struct watcher *watcher = health->watchers; watcher; watcher = watcher->next)
        rpc_waker_wake(watcher->waker);
}

static Grpc__Health__V1__HealthCheckResponse__ServingStatus current(struct health *health)
{
    lock_scope(&health->mutex);
    return health->serving ? GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING
                           : GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING;
}

/* "" is the server, else a service by its full name. All of them live and die together. */
static bool service_known(const char *name)
{
    size_t size = strlen(name);

    if (size == 0)
        return true;
    for (unsigned i = 0; i < RPC_METHOD_COUNT; i++) {
        const char *path = rpc_methods[i].path + 1;

        if (strncmp(path, name, size) == 0 && path[size] == '/')
            return true;
    }
    return false;
}

static struct health *of_call(struct rpc_call *call)
{
    return call->listener->server->health;
}

static struct status check(struct rpc_call *call, const void *request_message, void *response)
{
    const Grpc__Health__V1__HealthCheckRequest *request = request_message;
    Grpc__Health__V1__HealthCheckResponse *answer = response;

    if (!service_known(request->service))
        return status_at(status_error(STATUS_NOT_FOUND, "SERVICE_UNKNOWN",
                                      "this server has no service of that name"),
                         "service");
    answer->status = current(of_call(call));
    return STATUS_OK_VALUE;
}

static struct status watch_open(struct rpc_call *call, const void *request_message,
                                void **ret_state)
{
    const Grpc__Health__V1__HealthCheckRequest *request = request_message;
    struct health *health = of_call(call);
    struct watcher *watcher = calloc(1, sizeof(*watcher));

    if (!watcher)
        abort();
    watcher->health = health;
    watcher->waker = rpc_call_waker(call);
    watcher->known = service_known(request->service);
    watcher->told = -1;
    lock_scope(&health->mutex);
    watcher->next = health->watchers;
    watcher->link = &health->watchers;
    if (watcher->next)
        watcher->next->link = &watcher->next;
    health->watchers = watcher;
    *ret_state = watcher;
    return STATUS_OK_VALUE;
}

static enum rpc_pull watch_pull(struct rpc_call *call, void *state, void *response,
                                struct status *ret_status)
{
    struct watcher *watcher = state;
    Grpc__Health__V1__HealthCheckResponse *answer = response;

    (void)call;
    (void)ret_status;
    answer->status = watcher->known
                         ? current(watcher->health)
                         : GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN;
    if (watcher->told == (int)answer->status)
        return RPC_PULL_WAIT;
    watcher->told = (int)answer->status;
    return RPC_PULL_MESSAGE;
}

static void watch_close(void *state)
{
    struct watcher *watcher = state;

    (void)pthread_mutex_lock(&watcher->health->mutex);
    *watcher->link = watcher->next;
    if (watcher->next)
        watcher->next->link = watcher->link;
    (void)pthread_mutex_unlock(&watcher->health->mutex);
    rpc_waker_unref(watcher->waker);
    free(watcher);
}

void health_routes(struct route routes[])
{
    static const struct rpc_method check_method = {
        .path = "/grpc.health.v1.Health/Check",
        .name = "Health.Check",
        .max_request_bytes = REQUEST_BYTES,
        .input = &grpc__health__v1__health_check_request__descriptor,
        .output = &grpc__health__v1__health_check_response__descriptor,
    };
    static const struct rpc_method watch_method = {
        .path = "/grpc.health.v1.Health/Watch",
        .name = "Health.Watch",
        .server_streaming = true,
        .max_request_bytes = REQUEST_BYTES,
        .input = &grpc__health__v1__health_check_request__descriptor,
        .output = &grpc__health__v1__health_check_response__descriptor,
    };
    static const struct rpc_server_stream_ops watch = {watch_open, watch_pull, watch_close};

    routes[BUILTIN_HEALTH_CHECK] =
        (struct route){.method = &check_method, .handler = {.unary = check}, .open = true};
    routes[BUILTIN_HEALTH_WATCH] =
        (struct route){.method = &watch_method, .handler = {.server_stream = &watch}, .open = true};
}
