/* The requests of nest.h that move more than one message: walks and uploads, over a pipe. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/sandbox/nest_call.h"
#include "server/util/cleanup.h"
#include "server/util/clock.h"
#include "server/util/limits.h"

/* Waits for the pipe until the deadline. Returns 0 or a negative errno. */
static int wait_pipe(int fd, short events, uint64_t deadline_ms)
{
    struct pollfd poll_fd = {.fd = fd, .events = events};
    uint64_t now = clock_monotonic_ms();
    int ready = now < deadline_ms ? poll(&poll_fd, 1, (int)(deadline_ms - now)) : 0;

    if (ready == 0)
        return -ETIMEDOUT;
    return ready < 0 && errno != EINTR ? -errno : 0;
}

/*
 * Reads exactly size bytes. The deadline is that of the whole walk: were there one for each read, a
 * byte now and then would hold the thread for ever. Returns 1, 0 at the end before the first byte,
 * or a negative errno.
 */
static int read_whole(int fd, void *data, size_t size, uint64_t deadline_ms)
{
    for (size_t at = 0; at < size;) {
        int r = wait_pipe(fd, POLLIN, deadline_ms);
        ssize_t got = r < 0 ? -1 : read(fd, (char *)data + at, size - at);

        if (r < 0)
            return r;
        if (got < 0 && errno != EINTR && errno != EAGAIN)
            return -errno;
        if (got == 0)
            return at == 0 ? 0 : -EPROTO;
        at += got > 0 ? (size_t)got : 0;
    }
    return 1;
}

static int walk_read(int fd, nest_visit_fn *visit, void *arg)
{
    uint64_t deadline_ms = clock_monotonic_ms() + LIMIT_NEST_WAIT_MS;

    for (;;) {
        struct nest_entry entry;
        char name[NEST_PATH_MAX];
        int r = read_whole(fd, &entry, sizeof(entry), deadline_ms);

        if (r <= 0)
            return r;
        if (entry.name_bytes == 0 || entry.name_bytes > sizeof(name))
            return -EPROTO;
        r = read_whole(fd, name, entry.name_bytes, deadline_ms);
        if (r <= 0)
            return r < 0 ? r : -EPROTO;
        if (!visit(arg, &entry, bytes_of(name, entry.name_bytes)))
            return 0;
    }
}

static int nest_walk(struct nest *nest, uint32_t op, const char *path, nest_visit_fn *visit,
                     void *arg)
{
    struct nest_request request = {.op = op};
    struct nest_call call;
    int ends[2];

    if (nest_call_path(&request, path) < 0)
        return -ENAMETOOLONG;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    cleanup_fd int from = ends[0];
    int r = nest_call_send(nest, &request, NEST_REQUEST_SIZE(file), &ends[1], 1, &call);

    (void)close(ends[1]);
    if (r < 0)
        return r;
    int walked = walk_read(from, visit, arg);

    /* A walk that was ended early breaks the pipe, which nest-init may report. */
    (void)close(take_fd(&from));
    r = nest_call_wait(nest, &call, LIMIT_NEST_WAIT_MS, 0);
    if (r == -EPIPE)
        r = 0;
    return r < 0 ? r : walked;
}

int nest_list(struct nest *nest, const char *path, nest_visit_fn *visit, void *arg)
{
    return nest_walk(nest, NEST_LIST, path, visit, arg);
}

int nest_glob(struct nest *nest, const char *pattern, nest_visit_fn *visit, void *arg)
{
    return nest_walk(nest, NEST_GLOB, pattern, visit, arg);
}

int nest_stat(struct nest *nest, const char *path, nest_visit_fn *visit, void *arg)
{
    return nest_walk(nest, NEST_STAT, path, visit, arg);
}

static int nest_change(struct nest *nest, struct nest_request *request, size_t size)
{
    struct nest_call call;
    int r = nest_call_send(nest, request, size, NULL, 0, &call);

    return r < 0 ? r : nest_call_wait(nest, &call, LIMIT_FILE_WAIT_MS, 0);
}

int nest_make_dir(struct nest *nest, const char *path, uint32_t flags, uint64_t token)
{
    struct nest_request request = {.op = NEST_MAKE_DIR, .token = token, .file = {.flags = flags}};

    if (nest_call_path(&request, path) < 0)
        return -ENAMETOOLONG;
    return nest_change(nest, &request, NEST_REQUEST_SIZE(file));
}

int nest_move(struct nest *nest, const char *from, const char *to, uint32_t flags, uint64_t token)
{
    struct nest_request request = {
        .op = NEST_MOVE, .token = token, .move = {.file = {.flags = flags}}};

    if (nest_call_path(&request, from) < 0 || strlen(to) >= NEST_PATH_MAX)
        return -ENAMETOOLONG;
    memcpy(request.move.to, to, strlen(to) + 1);
    return nest_change(nest, &request, NEST_REQUEST_SIZE(move));
}

int nest_remove(struct nest *nest, const char *path, uint32_t flags, uint64_t token)
{
    struct nest_request request = {.op = NEST_REMOVE, .token = token, .file = {.flags = flags}};

    if (nest_call_path(&request, path) < 0)
        return -ENAMETOOLONG;
    return nest_change(nest, &request, NEST_REQUEST_SIZE(file));
}

struct nest_upload {
    struct nest *nest;
    struct nest_call call;
    int pipe;
};

int nest_upload_begin(struct nest *nest, const struct nest_upload_options *options,
                      struct nest_upload **ret_upload)
{
    struct nest_request request = {.op = NEST_WRITE,
                                   .file = {.flags = options->flags,
                                            .mode = options->mode,
                                            .upload = options->name,
                                            .offset = options->offset}};
    int ends[2];

    if (nest_call_path(&request, options->path) < 0)
        return -ENAMETOOLONG;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    struct nest_upload *upload = calloc(1, sizeof(*upload));

    if (!upload)
        abort();
    (void)fcntl(ends[1], F_SETFL, O_NONBLOCK);
    (void)fcntl(ends[1], F_SETPIPE_SZ, 256 << 10);
    int r = nest_call_send(nest, &request, NEST_REQUEST_SIZE(file), &ends[0], 1, &upload->call);

    (void)close(ends[0]);
    if (r < 0) {
        (void)close(ends[1]);
        free(upload);
        return r;
    }
    upload->nest = nest_ref(nest);
    upload->pipe = ends[1];
    *ret_upload = upload;
    return 0;
}

/* The server ignores SIGPIPE, so a sandbox that stopped reading shows as -EPIPE. */
static int write_whole(int fd, const void *data, size_t size, uint64_t deadline_ms)
{
    for (size_t at = 0; at < size;) {
        ssize_t written = write(fd, (const char *)data + at, size - at);

        if (written >= 0) {
            at += (size_t)written;
            continue;
        }
        if (errno == EAGAIN) {
            int r = wait_pipe(fd, POLLOUT, deadline_ms);

            if (r < 0)
                return r;
        } else if (errno != EINTR) {
            return -errno;
        }
    }
    return 0;
}

int nest_upload_data(struct nest_upload *upload, struct bytes data)
{
    uint64_t deadline_ms = clock_monotonic_ms() + LIMIT_NEST_WAIT_MS;
    int r = 0;

    while (data.size > 0 && r == 0) {
        uint32_t chunk = data.size < NEST_CHUNK_MAX ? (uint32_t)data.size : NEST_CHUNK_MAX;

        r = write_whole(upload->pipe, &chunk, sizeof(chunk), deadline_ms);
        if (r == 0)
            r = write_whole(upload->pipe, data.data, chunk, deadline_ms);
        data = bytes_of(data.data + chunk, data.size - chunk);
    }
    return r;
}

static int upload_end(struct nest_upload *upload, unsigned timeout_ms, uint64_t *ret_size)
{
    (void)close(upload->pipe);
    int r = nest_call_wait(upload->nest, &upload->call, timeout_ms, 0);

    if (r == 0)
        *ret_size = upload->call.reply.size_bytes;
    nest_unref(upload->nest);
    free(upload);
    return r;
}

int nest_upload_finish(struct nest_upload *upload, uint64_t *ret_size)
{
    uint32_t end = 0;

    (void)write_whole(upload->pipe, &end, sizeof(end), clock_monotonic_ms() + LIMIT_NEST_WAIT_MS);
    return upload_end(upload, LIMIT_FILE_WAIT_MS, ret_size);
}

/* There is nothing to write for an upload that is given up. */
void nest_upload_abort(struct nest_upload *upload)
{
    uint64_t size;

    (void)upload_end(upload, LIMIT_NEST_WAIT_MS, &size);
}
