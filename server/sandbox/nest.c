#include "server/sandbox/nest_call.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/util/cleanup.h"
#include "server/util/close.h"
#include "server/util/cond.h"
#include "server/util/container_of.h"
#include "server/util/limits.h"

struct nest {
    atomic_uint refs;
    struct loop *loop;
    struct nest_hooks hooks;
    struct loop_source source;
    pthread_mutex_t mutex; /* of what follows */
    pthread_cond_t wake;
    struct nest_call *waiting;
    uint64_t serial;
    bool closed;
};

static void nest_complete(struct nest *nest, const struct nest_reply *reply, int *fds,
                          unsigned fd_count)
{
    lock_scope(&nest->mutex);
    struct nest_call *call = nest->waiting;

    while (call && (call->serial != reply->serial || call->op != reply->op))
        call = call->next;
    if (!call || call->done) {
        fdpass_close(fds, fd_count);
        return;
    }
    call->reply = *reply;
    call->result = reply->error > 0 || reply->error < -4095 ? -EPROTO : reply->error;
    memcpy(call->fds, fds, fd_count * sizeof(*fds));
    call->fd_count = fd_count;
    call->done = true;
    (void)pthread_cond_broadcast(&nest->wake);
}

/* On the loop's thread. */
static void nest_close(struct nest *nest)
{
    loop_remove(nest->loop, &nest->source);
    (void)pthread_mutex_lock(&nest->mutex);
    nest->closed = true;
    for (struct nest_call *call = nest->waiting; call; call = call->next) {
        if (!call->done) {
            call->done = true;
            call->result = -ECONNRESET;
        }
    }
    (void)pthread_cond_broadcast(&nest->wake);
    (void)pthread_mutex_unlock(&nest->mutex);
    nest->hooks.closed(nest->hooks.arg);
    nest_unref(nest);
}

static void nest_ready(struct loop_source *source, uint32_t events)
{
    struct nest *nest = container_of(source, struct nest, source);
    struct nest_reply reply;
    int fds[FDPASS_MAX];
    unsigned fd_count = 0;
    ssize_t got = fdpass_receive(source->fd, &reply, sizeof(reply), fds, &fd_count);

    (void)events;
    if (got == -EAGAIN)
        return;
    if (got != (ssize_t)sizeof(reply) || reply.version != NEST_WIRE_VERSION) {
        /* Even a message of no bytes, which looks like the end, may have brought some. */
        fdpass_close(fds, fd_count);
        nest_close(nest);
        return;
    }
    if (reply.serial == 0 && reply.op == NEST_EXITED) {
        fdpass_close(fds, fd_count);
        nest->hooks.exited(nest->hooks.arg, &reply);
        return;
    }
    nest_complete(nest, &reply, fds, fd_count);
}

void nest_new(struct loop *loop, int fd, const struct nest_hooks *hooks, struct nest **ret_nest)
{
    struct nest *nest = calloc(1, sizeof(*nest));

    if (!nest)
        abort();
    atomic_init(&nest->refs, 2); /* the caller's and the loop's */
    nest->loop = loop;
    nest->hooks = *hooks;
    nest->source = (struct loop_source){.fd = fd, .ready = nest_ready};
    (void)pthread_mutex_init(&nest->mutex, NULL);
    cond_init(&nest->wake);
    *ret_nest = nest;
    if (loop_add(loop, &nest->source, EPOLLIN) < 0)
        abort();
}

struct nest *nest_ref(struct nest *nest)
{
    atomic_fetch_add(&nest->refs, 1);
    return nest;
}

void nest_unref(struct nest *nest)
{
    if (!nest || atomic_fetch_sub(&nest->refs, 1) > 1)
        return;
    close_promptly(nest->source.fd);
    (void)pthread_cond_destroy(&nest->wake);
    (void)pthread_mutex_destroy(&nest->mutex);
    free(nest);
}

void nest_abandon(struct nest *nest)
{
    (void)pthread_mutex_lock(&nest->mutex);
    nest->closed = true;
    (void)pthread_mutex_unlock(&nest->mutex);
    nest_unref(nest);
}

int nest_call_send(struct nest *nest, struct nest_request *request, size_t size, const int *fds,
                   unsigned fd_count, struct nest_call *call)
{
    lock_scope(&nest->mutex);
    if (nest->closed)
        return -ECONNRESET;
    request->version = NEST_WIRE_VERSION;
    request->serial = ++nest->serial;
    *call = (struct nest_call){.serial = request->serial, .op = request->op};
    int r = fdpass_send(nest->source.fd, request, size, fds, fd_count);

    if (r < 0)
        return r == -EAGAIN ? -EBUSY : r;
    call->next = nest->waiting;
    nest->waiting = call;
    return 0;
}

int nest_call_wait(struct nest *nest, struct nest_call *call, unsigned timeout_ms,
                   unsigned fd_count)
{
    struct timespec deadline = cond_deadline(timeout_ms);
    int r = 0;

    (void)pthread_mutex_lock(&nest->mutex);
    while (!call->done && r == 0)
        r = pthread_cond_timedwait(&nest->wake, &nest->mutex, &deadline);
    struct nest_call **at = &nest->waiting;

    while (*at != call)
        at = &(*at)->next;
    *at = call->next;
    (void)pthread_mutex_unlock(&nest->mutex);
    if (!call->done)
        return -ETIMEDOUT;
    if (call->result == 0 && fd_count != NEST_CALL_ANY_FDS && call->fd_count != fd_count)
        call->result = -EPROTO;
    if (call->result < 0)
        fdpass_close(call->fds, call->fd_count);
    return call->result;
}

int nest_call_path(struct nest_request *request, const char *path)
{
    size_t size = strlen(path) + 1;

    if (size > NEST_PATH_MAX)
        return -ENAMETOOLONG;
    memcpy(request->file.path, path, size);
    return 0;
}

static int nest_exchange(struct nest *nest, struct nest_request *request, size_t size,
                         struct nest_call *call, unsigned fd_count)
{
    int r = nest_call_send(nest, request, size, NULL, 0, call);

    return r < 0 ? r : nest_call_wait(nest, call, LIMIT_NEST_WAIT_MS, fd_count);
}

/* A sealed memory file, so that nest-init reads what was checked here. */
static int blob_fd(struct bytes blob)
{
    cleanup_fd int fd = memfd_create("spawn", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0)
        return -errno;
    for (size_t at = 0; at < blob.size;) {
        ssize_t written = write(fd, blob.data + at, blob.size - at);

        if (written < 0)
            return -errno;
        at += (size_t)written;
    }
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        return -errno;
    return take_fd(&fd);
}

/* Nobody waits for the answer: it is dropped as one to an unknown serial. */
static void nest_tell(struct nest *nest, uint32_t op, uint64_t command)
{
    struct nest_request request = {.version = NEST_WIRE_VERSION, .op = op, .command = command};

    lock_scope(&nest->mutex);
    request.serial = ++nest->serial;
    if (!nest->closed)
        (void)fdpass_send(nest->source.fd, &request, NEST_HEADER_SIZE, NULL, 0);
}

/*
 * One end of a pipe and only that: one that is open both ways is written to by calls that choose
 * their direction by it, and what they would write is the server's memory.
 */
static bool is_pipe_end(int fd, int access_mode)
{
    struct stat st;
    int flags = fcntl(fd, F_GETFL);

    return flags >= 0 && (flags & (O_ACCMODE | O_PATH)) == access_mode && fstat(fd, &st) == 0 &&
           S_ISFIFO(st.st_mode);
}

static bool are_pipe_ends(const int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!is_pipe_end(fds[i], i == NEST_PIPE_STDIN ? O_WRONLY : O_RDONLY))
            return false;
    }
    return true;
}

/* Output, error output and, while it is open, input. Takes the call's descriptors. */
static int take_pipes(struct nest_call *call, int ret_fds[NEST_PIPE_COUNT])
{
    if (call->fd_count < NEST_PIPE_STDIN || call->fd_count > NEST_PIPE_COUNT ||
        !are_pipe_ends(call->fds, call->fd_count)) {
        fdpass_close(call->fds, call->fd_count);
        return -EPROTO;
    }
    ret_fds[NEST_PIPE_STDIN] = -1;
    memcpy(ret_fds, call->fds, call->fd_count * sizeof(int));
    return 0;
}

int nest_spawn(struct nest *nest, uint64_t command, const struct nest_spawn_options *options,
               int ret_fds[NEST_PIPE_COUNT], enum nest_step *ret_step)
{
    struct nest_request request = {.op = NEST_SPAWN,
                                   .command = command,
                                   .spawn = {.user = options->user,
                                             .argc = options->argc,
                                             .envc = options->envc,
                                             .blob_bytes = (uint32_t)options->blob.size,
                                             .rows = options->rows,
                                             .columns = options->columns}};
    struct nest_call call;

    *ret_step = NEST_STEP_INIT;
    call.reply.step = NEST_STEP_NONE;
    if (options->blob.size > NEST_SPAWN_BLOB_MAX || strlen(options->cwd) >= NEST_PATH_MAX)
        return -E2BIG;
    request.spawn.flags =
        (options->rows ? NEST_TERMINAL : 0) | (options->keep_input ? NEST_KEEP_INPUT : 0);
    memcpy(request.spawn.cwd, options->cwd, strlen(options->cwd));
    cleanup_fd int blob = blob_fd(options->blob);

    if (blob < 0)
        return blob;
    int r = nest_call_send(nest, &request, NEST_REQUEST_SIZE(spawn), &blob, 1, &call);

    if (r == 0)
        r = nest_call_wait(nest, &call, LIMIT_NEST_WAIT_MS,
                           options->keep_input ? NEST_PIPE_COUNT : NEST_PIPE_STDIN);
    if (r == 0)
        r = take_pipes(&call, ret_fds);
    /* It may have been started, or may be started later: nobody would ever hear of it. */
    if (r == -ETIMEDOUT || r == -EPROTO)
        nest_tell(nest, NEST_KILL, command);
    if (r < 0) {
        if (call.reply.step <= NEST_STEP_EXEC && call.reply.step > NEST_STEP_NONE)
            *ret_step = call.reply.step;
        return r;
    }
    return 0;
}

int nest_attach(struct nest *nest, uint64_t command, int ret_fds[NEST_PIPE_COUNT])
{
    struct nest_request request = {.op = NEST_ATTACH, .command = command};
    struct nest_call call;
    int r = nest_exchange(nest, &request, NEST_HEADER_SIZE, &call, NEST_CALL_ANY_FDS);

    return r < 0 ? r : take_pipes(&call, ret_fds);
}

int nest_input(struct nest *nest, uint64_t command, uint64_t offset, struct bytes data, bool close,
               uint64_t *ret_taken)
{
    struct nest_call call;

    if (data.size > NEST_INPUT_MAX)
        return -E2BIG;
    cleanup_free uint8_t *message = calloc(1, sizeof(struct nest_request) + data.size);
    struct nest_request *request = (struct nest_request *)(void *)message;

    if (!request)
        abort();
    request->op = NEST_INPUT;
    request->command = command;
    request->input.offset = offset;
    request->input.size = (uint32_t)data.size;
    request->input.close = close;
    if (data.size > 0)
        memcpy(message + NEST_INPUT_SIZE(0), data.data, data.size);
    call.reply.size_bytes = 0;
    int r = nest_exchange(nest, request, NEST_INPUT_SIZE(data.size), &call, 0);

    /* Of a whole request nothing before its offset is missing, and of a gap just that. */
    if ((r == 0 && call.reply.size_bytes < offset) ||
        (r == -ERANGE && call.reply.size_bytes >= offset))
        return -EPROTO;
    if (r == 0 || r == -ERANGE)
        *ret_taken = call.reply.size_bytes;
    return r;
}

int nest_resize(struct nest *nest, uint64_t command, uint16_t rows, uint16_t columns)
{
    struct nest_request request = {
        .op = NEST_RESIZE, .command = command, .terminal = {.rows = rows, .columns = columns}};
    struct nest_call call;

    return nest_exchange(nest, &request, NEST_REQUEST_SIZE(terminal), &call, 0);
}

int nest_signal(struct nest *nest, uint64_t command, int signo, uint64_t token)
{
    struct nest_request request = {
        .op = NEST_SIGNAL, .command = command, .token = token, .signo = signo};
    struct nest_call call;

    return nest_exchange(nest, &request, NEST_REQUEST_SIZE(signo), &call, 0);
}

int nest_kill(struct nest *nest, uint64_t command)
{
    struct nest_request request = {.op = NEST_KILL, .command = command};
    struct nest_call call;

    return nest_exchange(nest, &request, NEST_HEADER_SIZE, &call, 0);
}

void nest_hello(struct nest *nest)
{
    nest_tell(nest, NEST_HELLO, 0);
}

void nest_ack(struct nest *nest, uint64_t command)
{
    nest_tell(nest, NEST_ACK, command);
}

/* A regular file that can be read, so that reading it waits for nobody in the sandbox. */
static bool is_file(int fd)
{
    struct stat st;
    int flags = fcntl(fd, F_GETFL);

    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && flags >= 0 && (flags & O_PATH) == 0;
}

static bool is_tcp_socket(int fd)
{
    int domain = 0;
    int type = 0;
    socklen_t size = sizeof(int);

    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 &&
           getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 &&
           (domain == AF_INET || domain == AF_INET6) && type == SOCK_STREAM;
}

int nest_read(struct nest *nest, const char *path, uint32_t flags, int *ret_fd, uint64_t *ret_size)
{
    struct nest_request request = {.op = NEST_READ, .file = {.flags = flags}};
    struct nest_call call;
    int r = nest_call_path(&request, path);

    if (r == 0)
        r = nest_exchange(nest, &request, NEST_REQUEST_SIZE(file), &call, 1);
    if (r < 0)
        return r;
    if (!is_file(call.fds[0])) {
        fdpass_close(call.fds, call.fd_count);
        return -EPROTO;
    }
    *ret_fd = call.fds[0];
    *ret_size = call.reply.size_bytes;
    return 0;
}

int nest_connect(struct nest *nest, uint16_t port, int *ret_fd)
{
    struct nest_request request = {.op = NEST_CONNECT, .port = port};
    struct nest_call call;
    int r = nest_exchange(nest, &request, NEST_REQUEST_SIZE(port), &call, 1);

    if (r < 0)
        return r;
    if (!is_tcp_socket(call.fds[0])) {
        fdpass_close(call.fds, call.fd_count);
        return -EPROTO;
    }
    *ret_fd = call.fds[0];
    return 0;
}
