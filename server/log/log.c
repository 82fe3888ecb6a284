#include "server/log/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/uio.h>

#include "server/log/private.h"
#include "server/util/cleanup.h"
#include "server/util/failpoint.h"
#include "server/util/limits.h"

/* Kept free below the limit for the frames that end a log, each with the zeros before it. */
#define LIMIT_RESERVE (4 * FRAME_HEADER)

#define DISCARD_BYTES (1U << 20)

static struct log *log_new(int fd, const char *directory, uint64_t limit)
{
    struct log *log = calloc(1, sizeof(*log));

    if (!log)
        abort();
    log->references = 1;
    log->fd = fd;
    log->directory = strdup(directory);
    if (!log->directory)
        abort();
    log->limit = limit;
    (void)pthread_mutex_init(&log->append_lock, NULL);
    (void)pthread_mutex_init(&log->lock, NULL);
    (void)pthread_mutex_init(&log->follow_lock, NULL);
    (void)pthread_cond_init(&log->follow_idle, NULL);
    return log;
}

int log_write_at(int fd, struct iovec *parts, int count, uint64_t position)
{
    int told = FAILPOINT_ERROR("log.write");

    if (told < 0)
        return told;
    while (count > 0) {
        ssize_t written = pwritev(fd, parts, count, (off_t)position);

        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return errno == ENOSPC || errno == EDQUOT ? -ENOSPC : -EIO;
        position += (uint64_t)written;
        while (count > 0 && (size_t)written >= parts->iov_len) {
            written -= (ssize_t)parts->iov_len;
            parts++;
            count--;
        }
        if (count > 0) {
            parts->iov_base = (uint8_t *)parts->iov_base + written;
            parts->iov_len -= (size_t)written;
        }
    }
    return 0;
}

static int write_file_header(int fd)
{
    uint8_t header[FILE_HEADER];

    frame_file_header(header);
    return log_write_at(fd, &(struct iovec){header, sizeof(header)}, 1, 0);
}

int log_create_limited(const char *directory, const char *name, uint64_t limit,
                       struct log **ret_log, struct err *err)
{
    struct log_path path;
    int result = log_path_make(directory, name, &path);

    if (result == 0)
        result = log_path_make_directories(directory, &path);
    if (result < 0)
        return err_set(err, -result, "cannot place the log %.64s", name);
    cleanup_fd int fd = open(path.file, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (fd < 0)
        return err_set(err, errno, "cannot make the log %s: %s", name, strerror(errno));
    (void)flock(fd, LOCK_EX | LOCK_NB);
    result = write_file_header(fd);
    if (result < 0) {
        (void)unlink(path.file);
        return err_set(err, -result, "cannot write to the log %s: %s", name, strerror(-result));
    }
    struct log *log = log_new(take_fd(&fd), path.directory, limit);

    log->position = FILE_HEADER;
    *ret_log = log;
    return 0;
}

int log_create(const char *directory, const char *name, struct log **ret_log, struct err *err)
{
    return log_create_limited(directory, name, LIMIT_LOG_BYTES, ret_log, err);
}

/* Who has no lock sees a picture: another struct log may be appending to the file just now. */
static int scan_file(struct log *log)
{
    bool alone = flock(log->fd, LOCK_EX | LOCK_NB) == 0;
    uint8_t header[FILE_HEADER];
    int64_t size = log_pread(log->fd, header, sizeof(header), 0);

    if (size < 0)
        return (int)size;
    if (size < FILE_HEADER && alone) {
        if (ftruncate(log->fd, 0) < 0 || write_file_header(log->fd) < 0)
            return -EIO;
    } else if (size == FILE_HEADER && !frame_file_header_valid(header)) {
        return -EUCLEAN;
    }
    int result = log_scan(log, alone);

    if (!alone && !log->refusal)
        log->refusal = -EBUSY;
    return result;
}

static int open_plain(const struct log_path *path, struct log **ret_log)
{
    cleanup_fd int fd = open(path->file, O_RDWR | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0)
        return -errno;
    struct log *log = log_new(take_fd(&fd), path->directory, LIMIT_LOG_BYTES);
    int result = scan_file(log);

    if (result < 0) {
        log_unref(log);
        return result;
    }
    *ret_log = log;
    return 0;
}

static int open_archive(const struct log_path *path, struct log **ret_log)
{
    cleanup_fd int fd = open(path->archive, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    struct archive *archive;

    if (fd < 0)
        return -errno;
    int result = archive_open(fd, &archive);

    if (result < 0)
        return result;
    struct log *log = log_new(take_fd(&fd), path->directory, LIMIT_LOG_BYTES);

    log->archive = archive;
    log->position = archive->file_size;
    log->offset = archive->log_size;
    log->size = archive->log_size;
    log->refusal = -EPIPE;
    log->ended = true;
    log->marks = archive->marks;
    log->mark_count = archive->mark_count;
    archive->marks = NULL;
    *ret_log = log;
    return 0;
}

int log_open(const char *directory, const char *name, struct log **ret_log, struct err *err)
{
    struct log_path path;
    int result = log_path_make(directory, name, &path);

    if (result < 0)
        return err_set(err, -result, "no name of a log");
    result = open_plain(&path, ret_log);
    if (result == -ENOENT)
        result = open_archive(&path, ret_log);
    if (result < 0)
        return err_set(err, -result, "cannot open the log %s: %s", name,
                       result == -EUCLEAN ? "the file is damaged" : strerror(-result));
    return 0;
}

struct log *log_ref(struct log *log)
{
    (void)__atomic_add_fetch(&log->references, 1, __ATOMIC_RELAXED);
    return log;
}

void log_unref(struct log *log)
{
    if (!log || __atomic_sub_fetch(&log->references, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    (void)close(log->fd);
    archive_free(log->archive);
    (void)pthread_cond_destroy(&log->follow_idle);
    (void)pthread_mutex_destroy(&log->follow_lock);
    (void)pthread_mutex_destroy(&log->lock);
    (void)pthread_mutex_destroy(&log->append_lock);
    free(log->marks);
    free(log->directory);
    free(log);
}

void log_mark(struct log *log, uint64_t offset, uint64_t position)
{
    if (log->mark_count && position - log->marks[log->mark_count - 1].position < LOG_INDEX_STEP)
        return;
    if (log->mark_count == log->mark_capacity) {
        size_t capacity = log->mark_capacity ? 2 * log->mark_capacity : 4;
        struct log_mark *marks = reallocarray(log->marks, capacity, sizeof(*marks));

        /* Without the mark a reader only has to look a little longer. */
        if (!marks)
            return;
        log->marks = marks;
        log->mark_capacity = capacity;
    }
    log->marks[log->mark_count++] = (struct log_mark){offset, position};
}

/* A frame at `position` is whole. */
static void frame_written(struct log *log, const struct frame *frame, uint64_t position)
{
    lock_scope(&log->lock);
    log_mark(log, frame->offset, position);
    log->position = frame_place(position + FRAME_HEADER + frame_payload(frame));
    log->offset = frame->end;
}

static int write_header(struct log *log, const struct frame *frame, uint64_t position)
{
    uint8_t header[FRAME_HEADER];

    frame_encode(frame, header);
    return log_write_at(log->fd, &(struct iovec){header, sizeof(header)}, 1, position);
}

/* Holds append_lock. Removes what was written of a frame that failed. */
static int write_frame(struct log *log, struct frame *frame, struct bytes payload)
{
    uint8_t header[FRAME_HEADER];
    struct iovec parts[] = {{header, sizeof(header)},
                            {(void *)(uintptr_t)payload.data, payload.size}};
    uint64_t position = log->position;

    if (frame->stream != LOG_GAP)
        frame->payload_crc = frame_crc(payload);
    frame_encode(frame, header);
    int result = log_write_at(log->fd, parts, payload.size ? 2 : 1, position);

    if (result < 0) {
        (void)!ftruncate(log->fd, (off_t)position);
        return result;
    }
    frame_written(log, frame, position);
    return 0;
}

/* What was not kept, up to now. Holds append_lock. */
static struct frame gap_frame(const struct log *log)
{
    return (struct frame){.stream = LOG_GAP,
                          .offset = log->offset,
                          .end = log->size,
                          .payload_crc = (uint32_t)log->missing};
}

/*
 * Whether so many bytes may be kept now: 1; 0: they are to be counted only; or -errno. A gap that a
 * full disk has left is written first, for nothing can be kept behind one that is not. Holds
 * append_lock.
 */
static int admit(struct log *log, size_t size)
{
    (void)pthread_mutex_lock(&log->lock);
    int refusal = log->refusal;
    struct frame gap = gap_frame(log);

    if (log->position + 3 * FRAME_HEADER + size + LIMIT_RESERVE > log->limit)
        log->full = true;
    if (log->full && gap.end == gap.offset && !log->error)
        log->missing = LOG_GAP_LIMIT;
    bool keep = !log->full && !log->error;

    (void)pthread_mutex_unlock(&log->lock);
    if (refusal || !keep)
        return refusal;
    return gap.end == gap.offset || write_frame(log, &gap, bytes_of(NULL, 0)) == 0;
}

/*
 * So many bytes are not kept. What is missing is written where the next frame would be, so that it
 * is known even if the log is never ended; the next frame takes its place. A full disk has room for
 * it in the file header. Holds append_lock.
 */
static void count_missing(struct log *log, size_t size)
{
    (void)pthread_mutex_lock(&log->lock);
    log->size += size;
    struct frame gap = gap_frame(log);

    (void)pthread_mutex_unlock(&log->lock);
    if (write_header(log, &gap, log->position) < 0) {
        (void)!ftruncate(log->fd, (off_t)log->position);
        (void)write_header(log, &gap, FILE_GAP);
    }
}

/* A full disk may have room again; after any other failure nothing is kept any more. */
static int fail(struct log *log, int error)
{
    lock_scope(&log->lock);
    if (log->size == log->offset)
        log->missing = error == -ENOSPC ? LOG_GAP_DISK_FULL : LOG_GAP_IO_ERROR;
    if (error != -ENOSPC && !log->error)
        log->error = error;
    return error;
}

static void kept(struct log *log, size_t size)
{
    lock_scope(&log->lock);
    log->size += size;
}

int log_append(struct log *log, enum log_stream stream, uint64_t time_us, struct bytes payload)
{
    if (payload.size > LIMIT_LOG_FRAME || (stream != LOG_STDOUT && stream != LOG_STDERR))
        return -EINVAL;
    if (payload.size == 0)
        return 0;
    int result;
    {
        lock_scope(&log->append_lock);
        result = admit(log, payload.size);
        if (result < 0)
            return result;
        if (result > 0) {
            struct frame frame = {.stream = stream,
                                  .time_us = time_us,
                                  .offset = log->offset,
                                  .end = log->offset + payload.size};

            result = write_frame(log, &frame, payload);
            if (result == 0)
                kept(log, payload.size);
            else
                (void)fail(log, result);
        } else {
            result = log->full ? 0 : log->error ? log->error : -ENOSPC;
            count_missing(log, payload.size);
            return result;
        }
        if (result < 0) {
            count_missing(log, payload.size);
            return result;
        }
    }
    log_wake_followers(log, false);
    return 0;
}

/* Splicing */

/* 1: something is there; 0: nothing will come; -EAGAIN: not now. */
static int pipe_state(int pipe_fd)
{
    struct pollfd state = {.fd = pipe_fd, .events = POLLIN};

    if (poll(&state, 1, 0) <= 0)
        return -EAGAIN;
    return (state.revents & POLLIN) != 0;
}

/* As splice, without a wait. At the end of a pipe 0. */
static int64_t move(int pipe_fd, int fd, off_t *position, size_t size)
{
    for (;;) {
        ssize_t moved = splice(pipe_fd, NULL, fd, position, size, SPLICE_F_NONBLOCK);

        if (moved >= 0)
            return moved;
        if (errno == ENOSPC || errno == EDQUOT)
            return -ENOSPC;
        if (errno != EINTR)
            return errno == EAGAIN ? -EAGAIN : -EIO;
    }
}

/* Out of the pipe and into nothing, but for their number. */
static int64_t discard(struct log *log, int pipe_fd)
{
    cleanup_fd int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    int64_t moved = null < 0 ? -EAGAIN : move(pipe_fd, null, NULL, DISCARD_BYTES);

    if (moved > 0)
        count_missing(log, (size_t)moved);
    return moved;
}

/* Writes the header of what lies behind it now. Holds append_lock. */
int log_close_frame(struct log *log, struct frame *frame, size_t size)
{
    static _Thread_local uint8_t payload[LIMIT_LOG_FRAME];
    int64_t got = log_pread(log->fd, payload, size, log->position + FRAME_HEADER);

    if (got != (int64_t)size)
        return -EIO;
    frame->stream &= ~(uint32_t)FRAME_OPEN;
    frame->end = frame->offset + size;
    frame->payload_crc = frame_crc(bytes_of(payload, size));
    int result = write_header(log, frame, log->position);

    if (result == 0)
        frame_written(log, frame, log->position);
    return result;
}

/* A frame of what is in the pipe. Returns how many bytes left it; 0, -EAGAIN, -ENOSPC, -EIO. */
static int64_t fill_frame(struct log *log, enum log_stream stream, uint64_t time_us, int pipe_fd)
{
    struct frame frame = {.stream = FRAME_OPEN | (uint32_t)stream,
                          .time_us = time_us,
                          .offset = log->offset,
                          .end = log->offset};
    off_t position = (off_t)(log->position + FRAME_HEADER);
    size_t size = FAILPOINT_SIZE("log.size", LIMIT_LOG_FRAME);
    int result = write_header(log, &frame, log->position);

    FAILPOINT("log.opened");
    if (result == 0)
        result = FAILPOINT_ERROR("log.move");
    int64_t moved = result < 0 ? result : move(pipe_fd, log->fd, &position, size);

    FAILPOINT("log.moved");
    if (moved <= 0)
        return moved;
    moved -= FAILPOINT_SKIP("broken.output");
    result = log_close_frame(log, &frame, (size_t)moved);
    if (result == 0) {
        kept(log, (size_t)moved);
    } else {
        /* They have left the pipe, and nobody will find them in the file. */
        (void)fail(log, result);
        count_missing(log, (size_t)moved);
    }
    return moved;
}

int64_t log_splice(struct log *log, enum log_stream stream, uint64_t time_us, int pipe_fd)
{
    int64_t moved = pipe_state(pipe_fd);

    if (moved <= 0)
        return moved;
    {
        lock_scope(&log->append_lock);
        int keep = admit(log, LIMIT_LOG_FRAME);

        if (keep < 0)
            return keep;
        moved = keep ? fill_frame(log, stream, time_us, pipe_fd) : discard(log, pipe_fd);
        if (keep && (moved == -ENOSPC || moved == -EIO)) {
            (void)fail(log, (int)moved);
            return discard(log, pipe_fd);
        }
    }
    if (moved > 0)
        log_wake_followers(log, false);
    return moved;
}

/* The gap, if there is one, the mark of the end, and all of it on disk. Holds append_lock. */
static int write_end(struct log *log)
{
    struct frame gap = gap_frame(log);
    struct frame end = {.stream = FRAME_END, .offset = log->size, .end = log->size};
    int result = 0;

    if (gap.end > gap.offset)
        result = write_frame(log, &gap, bytes_of(NULL, 0));
    if (result == 0)
        result = write_frame(log, &end, bytes_of(NULL, 0));
    if (result == 0 && (fdatasync(log->fd) < 0 || log_sync_directory(log->directory) < 0))
        result = -EIO;
    return result;
}

int log_finish(struct log *log)
{
    lock_scope(&log->append_lock);
    (void)pthread_mutex_lock(&log->lock);
    int refusal = log->ended || log->finished ? log->error : log->refusal;
    bool over = log->ended || log->finished || refusal;

    (void)pthread_mutex_unlock(&log->lock);
    if (over)
        return refusal;
    int result = write_end(log);

    FAILPOINT("log.finished");
    if (result == -ENOSPC)
        return result;
    if (result < 0)
        (void)fail(log, result);
    (void)pthread_mutex_lock(&log->lock);
    log->finished = true;
    log->refusal = -EPIPE;
    result = log->error;
    (void)pthread_mutex_unlock(&log->lock);
    return result;
}

int log_end(struct log *log)
{
    int result = log_finish(log);

    (void)pthread_mutex_lock(&log->lock);
    bool ends = (log->finished || result == -ENOSPC) && !log->ended;

    if (ends) {
        log->finished = true;
        log->refusal = -EPIPE;
        log->ended = true;
    }
    (void)pthread_mutex_unlock(&log->lock);
    if (ends)
        log_wake_followers(log, true);
    return result;
}

uint64_t log_size(struct log *log)
{
    lock_scope(&log->lock);
    return log->size;
}

bool log_ended(struct log *log)
{
    lock_scope(&log->lock);
    return log->ended;
}
