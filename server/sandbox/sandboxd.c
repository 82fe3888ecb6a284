#include "server/sandbox/sandboxd.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "server/util/cleanup.h"
#include "server/util/cond.h"
#include "server/util/fdpass.h"
#include "server/util/limits.h"

/* One request under way; lives on the stack of the thread that waits for it. */
struct exchange {
    struct exchange *next;
    uint64_t serial;
    bool done;
    int result;
    struct sd_reply reply;
    int fds[FDPASS_MAX];
    unsigned fd_count;
    /* SD_INVENTORY: what was heard so far. */
    struct sd_reply *entries;
    size_t entry_count;
};

struct sandboxd {
    struct sockaddr_un address;
    pthread_mutex_t mutex; /* of what follows */
    pthread_cond_t wake;
    struct exchange *waiting;
    uint64_t serial;
    int fd; /* -1: not connected */
    bool ending;
    pthread_t thread;
    bool has_thread;
};

static struct exchange *exchange_find(struct sandboxd *sandboxd, uint64_t serial)
{
    for (struct exchange *e = sandboxd->waiting; e; e = e->next) {
        if (e->serial == serial)
            return e;
    }
    return NULL;
}

static bool inventory_add(struct exchange *exchange, const struct sd_reply *reply)
{
    if (exchange->entry_count >= SD_MAX_SANDBOXES)
        return false;
    exchange->entries =
        realloc(exchange->entries, (exchange->entry_count + 1) * sizeof(*exchange->entries));
    if (!exchange->entries)
        abort();
    exchange->entries[exchange->entry_count++] = *reply;
    return true;
}

/* Called with the mutex held. Takes the descriptors. */
static void exchange_reply(struct sandboxd *sandboxd, const struct sd_reply *reply, int *fds,
                           unsigned fd_count)
{
    struct exchange *exchange = exchange_find(sandboxd, reply->serial);

    if (exchange && reply->op == SD_INVENTORY && reply->error == 0 && reply->sandbox[0] &&
        inventory_add(exchange, reply))
        exchange = NULL;
    if (!exchange || exchange->done) {
        fdpass_close(fds, fd_count);
        return;
    }
    exchange->reply = *reply;
    exchange->reply.step[sizeof(exchange->reply.step) - 1] = '\0';
    exchange->reply.detail[sizeof(exchange->reply.detail) - 1] = '\0';
    exchange->result = reply->error;
    memcpy(exchange->fds, fds, fd_count * sizeof(*fds));
    exchange->fd_count = fd_count;
    exchange->done = true;
    (void)pthread_cond_broadcast(&sandboxd->wake);
}

static void connection_lost(struct sandboxd *sandboxd)
{
    lock_scope(&sandboxd->mutex);
    (void)close(sandboxd->fd);
    sandboxd->fd = -1;
    for (struct exchange *e = sandboxd->waiting; e; e = e->next) {
        if (!e->done) {
            e->done = true;
            e->result = -ECONNRESET;
        }
    }
    (void)pthread_cond_broadcast(&sandboxd->wake);
}

static void *sandboxd_thread(void *arg)
{
    struct sandboxd *sandboxd = arg;
    struct pollfd poll_fd = {.fd = sandboxd->fd, .events = POLLIN};

    for (;;) {
        struct sd_reply reply;
        int fds[FDPASS_MAX];
        unsigned fd_count = 0;

        (void)poll(&poll_fd, 1, -1);
        ssize_t got = fdpass_receive(poll_fd.fd, &reply, sizeof(reply), fds, &fd_count);

        if (got == -EAGAIN)
            continue;
        if (got != (ssize_t)sizeof(reply) || reply.version != SD_WIRE_VERSION) {
            fdpass_close(fds, got > 0 ? fd_count : 0);
            break;
        }
        lock_scope(&sandboxd->mutex);
        exchange_reply(sandboxd, &reply, fds, fd_count);
    }
    connection_lost(sandboxd);
    return NULL;
}

/* Called with the mutex held. */
static int sandboxd_connect(struct sandboxd *sandboxd, struct err *err)
{
    if (sandboxd->fd >= 0)
        return 0;
    if (sandboxd->has_thread) {
        (void)pthread_join(sandboxd->thread, NULL);
        sandboxd->has_thread = false;
    }
    cleanup_fd int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return err_set(err, errno, "no socket to sandboxd: %s", strerror(errno));
    if (connect(fd, (struct sockaddr *)&sandboxd->address, sizeof(sandboxd->address)) < 0)
        return err_set(err, errno, "sandboxd does not answer at %s: %s", sandboxd->address.sun_path,
                       strerror(errno));
    struct sd_request hello = {.version = SD_WIRE_VERSION, .op = SD_HELLO};
    int r = fdpass_send(fd, &hello, sizeof(hello), NULL, 0);

    if (r < 0)
        return err_set(err, -r, "sandboxd does not take a hello: %s", strerror(-r));
    sandboxd->fd = take_fd(&fd);
    if (pthread_create(&sandboxd->thread, NULL, sandboxd_thread, sandboxd) != 0)
        abort();
    (void)pthread_setname_np(sandboxd->thread, "sandboxd");
    sandboxd->has_thread = true;
    return 0;
}

static void exchange_forget(struct sandboxd *sandboxd, struct exchange *exchange)
{
    struct exchange **at = &sandboxd->waiting;

    while (*at != exchange)
        at = &(*at)->next;
    *at = exchange->next;
}

/* Sends and waits. The exchange's descriptors are the caller's, whatever the result. */
static int sandboxd_exchange(struct sandboxd *sandboxd, struct sd_request *request,
                             struct exchange *exchange, struct err *err)
{
    struct timespec deadline = cond_deadline(LIMIT_SANDBOXD_WAIT_MS);

    lock_scope(&sandboxd->mutex);
    int r = sandboxd_connect(sandboxd, err);

    if (r < 0)
        return r;
    request->version = SD_WIRE_VERSION;
    request->serial = exchange->serial = ++sandboxd->serial;
    r = fdpass_send(sandboxd->fd, request, sizeof(*request), NULL, 0);
    if (r < 0)
        return err_set(err, -r, "sandboxd takes no request: %s", strerror(-r));
    exchange->next = sandboxd->waiting;
    sandboxd->waiting = exchange;
    while (!exchange->done && r == 0)
        r = -pthread_cond_timedwait(&sandboxd->wake, &sandboxd->mutex, &deadline);
    exchange_forget(sandboxd, exchange);
    if (!exchange->done)
        return err_set(err, ETIMEDOUT, "sandboxd did not answer within %u ms",
                       LIMIT_SANDBOXD_WAIT_MS);
    if (exchange->result < 0)
        return err_set(err, -exchange->result, "step %s, %s: %s",
                       exchange->reply.step[0] ? exchange->reply.step : "unknown",
                       exchange->reply.detail[0] ? exchange->reply.detail : "no detail",
                       strerror(-exchange->result));
    return 0;
}

int sandboxd_new(const char *socket_path, struct sandboxd **ret_sandboxd, struct err *err)
{
    struct sandboxd *sandboxd = calloc(1, sizeof(*sandboxd));

    if (!sandboxd)
        abort();
    sandboxd->fd = -1;
    sandboxd->address.sun_family = AF_UNIX;
    if (strlen(socket_path) >= sizeof(sandboxd->address.sun_path)) {
        free(sandboxd);
        return err_set(err, ENAMETOOLONG, "the path of sandboxd's socket is too long: %s",
                       socket_path);
    }
    (void)snprintf(sandboxd->address.sun_path, sizeof(sandboxd->address.sun_path), "%s",
                   socket_path);
    (void)pthread_mutex_init(&sandboxd->mutex, NULL);
    cond_init(&sandboxd->wake);
    *ret_sandboxd = sandboxd;
    return 0;
}

void sandboxd_free(struct sandboxd *sandboxd)
{
    if (!sandboxd)
        return;
    (void)pthread_mutex_lock(&sandboxd->mutex);
    if (sandboxd->fd >= 0)
        (void)shutdown(sandboxd->fd, SHUT_RDWR);
    (void)pthread_mutex_unlock(&sandboxd->mutex);
    if (sandboxd->has_thread)
        (void)pthread_join(sandboxd->thread, NULL);
    free(sandboxd);
}

static void request_name(struct sd_request *request, const char *id)
{
    (void)snprintf(request->sandbox, sizeof(request->sandbox), "%s", id);
}

/* A jail that was asked for and not waited for: whenever it is built, nobody will use it. */
static void give_up(struct sandboxd *sandboxd, const char *id)
{
    struct sd_request request = {.version = SD_WIRE_VERSION, .op = SD_KILL};

    request_name(&request, id);
    lock_scope(&sandboxd->mutex);
    request.serial = ++sandboxd->serial;
    if (sandboxd->fd >= 0)
        (void)fdpass_send(sandboxd->fd, &request, sizeof(request), NULL, 0);
}

int sandboxd_create(struct sandboxd *sandboxd, const char *id,
                    const uint8_t template_digest[SD_DIGEST_SIZE], const struct sd_limits *limits,
                    int ret_fds[SD_FD_COUNT], struct err *err)
{
    struct sd_request request = {.op = SD_CREATE, .limits = *limits};
    struct exchange exchange = {0};

    request_name(&request, id);
    memcpy(request.template_digest, template_digest, SD_DIGEST_SIZE);
    int r = sandboxd_exchange(sandboxd, &request, &exchange, err);

    if (r == 0 && exchange.fd_count != SD_FD_COUNT)
        r = err_set(err, EPROTO, "sandboxd sent %u descriptors instead of %d", exchange.fd_count,
                    SD_FD_COUNT);
    if (r == -ETIMEDOUT || r == -EPROTO)
        give_up(sandboxd, id);
    if (r < 0) {
        fdpass_close(exchange.fds, exchange.fd_count);
        return r;
    }
    memcpy(ret_fds, exchange.fds, SD_FD_COUNT * sizeof(int));
    return 0;
}

int sandboxd_kill(struct sandboxd *sandboxd, const char *id, struct sd_reply *ret_reply,
                  struct err *err)
{
    struct sd_request request = {.op = SD_KILL};
    struct exchange exchange = {0};

    request_name(&request, id);
    int r = sandboxd_exchange(sandboxd, &request, &exchange, err);

    fdpass_close(exchange.fds, exchange.fd_count);
    if (r < 0 && r != -ENOENT)
        return r;
    *ret_reply = exchange.reply;
    return 0;
}

int sandboxd_adopt(struct sandboxd *sandboxd, const char *id, int ret_fds[SD_FD_COUNT],
                   struct err *err)
{
    struct sd_request request = {.op = SD_ADOPT};
    struct exchange exchange = {0};

    request_name(&request, id);
    int r = sandboxd_exchange(sandboxd, &request, &exchange, err);

    if (r == 0 && exchange.fd_count != SD_FD_COUNT)
        r = err_set(err, EPROTO, "sandboxd sent %u descriptors instead of %d", exchange.fd_count,
                    SD_FD_COUNT);
    if (r < 0)
        fdpass_close(exchange.fds, exchange.fd_count);
    else
        memcpy(ret_fds, exchange.fds, SD_FD_COUNT * sizeof(int));
    return r;
}

int sandboxd_set_frozen(struct sandboxd *sandboxd, const char *id, bool frozen, struct err *err)
{
    struct sd_request request = {.op = frozen ? SD_FREEZE : SD_THAW};
    struct exchange exchange = {0};

    request_name(&request, id);
    int r = sandboxd_exchange(sandboxd, &request, &exchange, err);

    fdpass_close(exchange.fds, exchange.fd_count);
    return r;
}

int sandboxd_stats(struct sandboxd *sandboxd, const char *id, struct sd_reply *ret_reply,
                   struct err *err)
{
    struct sd_request request = {.op = SD_STATS};
    struct exchange exchange = {0};

    request_name(&request, id);
    int r = sandboxd_exchange(sandboxd, &request, &exchange, err);

    fdpass_close(exchange.fds, exchange.fd_count);
    if (r == 0)
        *ret_reply = exchange.reply;
    return r;
}

int sandboxd_inventory(struct sandboxd *sandboxd,
                       void (*visit)(void *arg, const struct sd_reply *entry), void *arg,
                       struct err *err)
{
    struct sd_request request = {.op = SD_INVENTORY};
    struct exchange exchange = {0};
    int r = sandboxd_exchange(sandboxd, &request, &exchange, err);

    fdpass_close(exchange.fds, exchange.fd_count);
    for (size_t i = 0; r == 0 && i < exchange.entry_count; i++) {
        exchange.entries[i].sandbox[SD_ID_SIZE - 1] = '\0';
        visit(arg, &exchange.entries[i]);
    }
    free(exchange.entries);
    return r;
}
