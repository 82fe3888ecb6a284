#include "server/gateway/gateway.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "server/gateway/connection.h"
#include "server/gateway/loop.h"
#include "server/util/cleanup.h"

const struct gateway_limits gateway_default_limits = {
    .connections = 8192,
    .passages = 4096,
    .passages_per_sandbox = 256,
    .connects_per_sandbox = 4,
    .head_ms = 10000,
    .keep_alive_ms = 60000,
    .body_ms = 30000,
    .connect_ms = 15000,
    .answer_ms = 120000,
    .stream_ms = 600000,
    .tunnel_ms = 3600000,
    .linger_ms = 5000,
    .recheck_ms = 5000,
};

static void wake(struct gateway *gateway)
{
    uint64_t one = 1;

    if (write(gateway->wake_fd, &one, sizeof(one)) != (ssize_t)sizeof(one))
        abort(); /* an eventfd takes eight bytes, or blocks */
}

/* One adopted socket; -1: none are left. */
static int next_adopted(struct gateway *gateway)
{
    lock_scope(&gateway->mutex);
    return gateway->adopted_count ? gateway->adopted[--gateway->adopted_count] : -1;
}

static bool is_stopping(struct gateway *gateway)
{
    lock_scope(&gateway->mutex);
    return gateway->stopping;
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    struct gateway *gateway = arg;
    uint64_t count;
    void *owner;
    int value;

    (void)what;
    if (read(fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
        abort();
    if (is_stopping(gateway)) {
        (void)event_base_loopbreak(gateway->base);
        return;
    }
    while ((value = next_adopted(gateway)) >= 0)
        connection_start(gateway, value);
    while (connector_take(gateway->connector, &owner, &value))
        connection_connected(owner, value);
}

static void on_recheck(evutil_socket_t fd, short what, void *arg)
{
    struct gateway *gateway = arg;

    (void)fd;
    (void)what;
    connection_recheck_all(gateway);
}

static void *run(void *arg)
{
    struct gateway *gateway = arg;

    (void)event_base_dispatch(gateway->base);
    connection_free_all(gateway);
    /* libevent closes and frees a bufferevent in the next pass of the loop. */
    (void)event_del(gateway->wake);
    (void)event_base_loop(gateway->base, EVLOOP_NONBLOCK);
    return NULL;
}

/* All signals are blocked there, SIGPIPE of a closed peer included: writev then fails instead. */
static int start_thread(struct gateway *gateway)
{
    sigset_t all, before;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&gateway->thread, NULL, run, gateway);

    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    gateway->started = error == 0;
    return error;
}

static int make_events(struct gateway *gateway)
{
    struct event_config *config = event_config_new();
    struct timeval often = {
        .tv_sec = gateway->limits.recheck_ms / 1000,
        .tv_usec = gateway->limits.recheck_ms % 1000 * 1000,
    };

    if (!config)
        return ENOMEM;
    /* Only the loop's own thread touches the base. */
    (void)event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
    gateway->base = event_base_new_with_config(config);
    event_config_free(config);
    if (!gateway->base)
        return ENOMEM;
    gateway->wake =
        event_new(gateway->base, gateway->wake_fd, EV_READ | EV_PERSIST, on_wake, gateway);
    gateway->recheck = event_new(gateway->base, -1, EV_PERSIST, on_recheck, gateway);
    gateway->scratch = evbuffer_new();
    if (!gateway->scratch || !gateway->wake || !gateway->recheck ||
        event_add(gateway->wake, NULL) || event_add(gateway->recheck, &often))
        return ENOMEM;
    return 0;
}

static int start(struct gateway *gateway, struct err *err)
{
    gateway->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (gateway->wake_fd < 0)
        return err_set(err, errno, "make the gateway's eventfd");
    int error = make_events(gateway);

    if (error)
        return err_set(err, error, "make the gateway's event loop");
    gateway->connector = connector_new(&gateway->hooks, &gateway->limits, gateway->wake_fd);
    error = start_thread(gateway);
    return error ? err_set(err, error, "start the gateway's thread") : 0;
}

int gateway_new_limited(const struct gateway_options *options, const struct gateway_limits *limits,
                        struct gateway **ret_gateway, struct err *err)
{
    struct gateway *gateway = calloc(1, sizeof(*gateway));

    if (!gateway)
        abort();
    gateway->hooks = options->hooks;
    gateway->limits = *limits;
    gateway->domain = strdup(options->domain);
    gateway->adopted = calloc(limits->connections, sizeof(*gateway->adopted));
    if (!gateway->domain || !gateway->adopted)
        abort();
    gateway->wake_fd = -1;
    LIST_INIT(&gateway->connections);
    (void)pthread_mutex_init(&gateway->mutex, NULL);
    credential_key_make(&gateway->key);
    int result = start(gateway, err);

    if (result) {
        gateway_free(gateway);
        return result;
    }
    *ret_gateway = gateway;
    return 0;
}

int gateway_new(const struct gateway_options *options, struct gateway **ret_gateway,
                struct err *err)
{
    return gateway_new_limited(options, &gateway_default_limits, ret_gateway, err);
}

void gateway_adopt(struct gateway *gateway, int fd)
{
    if (atomic_fetch_add(&gateway->open, 1) >= gateway->limits.connections) {
        (void)atomic_fetch_sub(&gateway->open, 1);
        (void)close(fd);
        return;
    }
    (void)pthread_mutex_lock(&gateway->mutex);
    gateway->adopted[gateway->adopted_count++] = fd;
    (void)pthread_mutex_unlock(&gateway->mutex);
    wake(gateway);
}

static void stop_thread(struct gateway *gateway)
{
    (void)pthread_mutex_lock(&gateway->mutex);
    gateway->stopping = true;
    (void)pthread_mutex_unlock(&gateway->mutex);
    wake(gateway);
    (void)pthread_join(gateway->thread, NULL);
}

void gateway_free(struct gateway *gateway)
{
    int fd;

    if (!gateway)
        return;
    if (gateway->started)
        stop_thread(gateway);
    connector_free(gateway->connector);
    while ((fd = next_adopted(gateway)) >= 0)
        (void)close(fd);
    if (gateway->scratch)
        evbuffer_free(gateway->scratch);
    if (gateway->wake)
        event_free(gateway->wake);
    if (gateway->recheck)
        event_free(gateway->recheck);
    if (gateway->base)
        event_base_free(gateway->base);
    if (gateway->wake_fd >= 0)
        (void)close(gateway->wake_fd);
    (void)pthread_mutex_destroy(&gateway->mutex);
    OPENSSL_cleanse(&gateway->key, sizeof(gateway->key));
    free(gateway->adopted);
    free(gateway->domain);
    free(gateway);
}
