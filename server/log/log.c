#include "server/log/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "server/log/private.h"
#include "server/util/cleanup.h"
#include "server/util/limits.h"

#define NAME_MIN 2
#define NAME_LENGTH_MAX 64

/* Kept free below the limit for the frames that end a log. */
#define LIMIT_RESERVE (2 * FRAME_HEADER)

struct log_path {
    char directory[PATH_MAX];
    char file[PATH_MAX];
};

static bool name_valid(const char *name)
{
    size_t size = strlen(name);

    return size >= NAME_MIN && size <= NAME_LENGTH_MAX &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == size;
}

/* Ids end in random characters and begin alike: the end spreads them over directories. */
static int make_path(const char *directory, const char *name, struct log_path *ret_path)
{
    if (!name_valid(name))
        return -EINVAL;
    int size = snprintf(ret_path->directory, sizeof(ret_path->directory), "%s/%s", directory,
                        name + strlen(name) - NAME_MIN);

    if (size < 0 || size + 1 + NAME_LENGTH_MAX + (int)sizeof(".log") > PATH_MAX)
        return -ENAMETOOLONG;
    memcpy(ret_path->file, ret_path->directory, (size_t)size);
    (void)snprintf(ret_path->file + size, sizeof(ret_path->file) - (size_t)size, "/%s.log", name);
    return 0;
}

static int sync_directory(const char *path)
{
    cleanup_fd int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

static int make_directories(const char *directory, const char *leaf)
{
    if (mkdir(directory, 0700) < 0 && errno != EEXIST)
        return -errno;
    if (mkdir(leaf, 0700) == 0)
        return sync_directory(directory);
    return errno == EEXIST ? 0 : -errno;
}

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

/* Writes everything or fails. */
static int write_at(int fd, struct iovec *parts, int count, uint64_t position)
{
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
    return write_at(fd, &(struct iovec){header, sizeof(header)}, 1, 0);
}

int log_create_limited(const char *directory, const char *name, uint64_t limit,
                       struct log **ret_log, struct err *err)
{
    struct log_path path;
    int result = make_path(directory, name, &path);

    if (result == 0)
        result = make_directories(directory, path.directory);
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

int log_open(const char *directory, const char *name, struct log **ret_log, struct err *err)
{
    struct log_path path;
    int result = make_path(directory, name, &path);

    if (result < 0)
        return err_set(err, -result, "no name of a log");
    cleanup_fd int fd = open(path.file, O_RDWR | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0)
        return err_set(err, errno, "cannot open the log %s: %s", name, strerror(errno));
    struct log *log = log_new(take_fd(&fd), path.directory, LIMIT_LOG_BYTES);

    result = scan_file(log);
    if (result < 0) {
        log_unref(log);
        return err_set(err, -result, "cannot read the log %s: %s", name,
                       result == -EUCLEAN ? "the file is damaged" : strerror(-result));
    }
    *ret_log = log;
    return 0;
}

int log_remove(const char *directory, const char *name)
{
    struct log_path path;
    int result = make_path(directory, name, &path);

    if (result < 0)
        return result;
    return unlink(path.file) < 0 ? -errno : 0;
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

/* Holds append_lock. Removes what was written of a frame that failed. */
static int write_frame(struct log *log, struct frame *frame, struct bytes payload)
{
    uint8_t header[FRAME_HEADER];
    struct iovec parts[] = {{header, sizeof(header)},
                            {(void *)(uintptr_t)payload.data, payload.size}};
    uint64_t position = log->position;

    frame->payload_crc = frame_crc(payload);
    frame_encode(frame, header);
    int result = write_at(log->fd, parts, payload.size ? 2 : 1, position);

    if (result < 0) {
        (void)!ftruncate(log->fd, (off_t)position);
        return result;
    }
    lock_scope(&log->lock);
    log_mark(log, frame->offset, position);
    log->position = position + FRAME_HEADER + payload.size;
    log->offset = frame->end;
    return 0;
}

/* Counts the payload in; whether to write it. Holds append_lock. */
static int admit(struct log *log, size_t size, struct frame *ret_frame)
{
    lock_scope(&log->lock);
    if (log->refusal)
        return log->refusal;
    if (log->position + FRAME_HEADER + size + LIMIT_RESERVE > log->limit)
        log->full = true;
    ret_frame->offset = log->size;
    ret_frame->end = log->size + size;
    log->size += size;
    if (log->error)
        return log->error;
    return log->full ? 0 : 1;
}

/* The first failure is final: a hole in the middle of a log could not be told from its bytes. */
static int fail(struct log *log, int error)
{
    lock_scope(&log->lock);
    if (!log->error)
        log->error = error;
    log->full = true;
    return error;
}

int log_append(struct log *log, enum log_stream stream, uint64_t time_us, struct bytes payload)
{
    if (payload.size > LIMIT_LOG_FRAME || (stream != LOG_STDOUT && stream != LOG_STDERR))
        return -EINVAL;
    if (payload.size == 0)
        return 0;
    {
        struct frame frame = {.stream = stream, .time_us = time_us};

        lock_scope(&log->append_lock);
        int result = admit(log, payload.size, &frame);

        if (result <= 0)
            return result;
        result = write_frame(log, &frame, payload);
        if (result < 0)
            return fail(log, result);
    }
    log_wake_followers(log, false);
    return 0;
}

/* The gap, if there is one, the mark of the end, and all of it on disk. Holds append_lock. */
static int write_end(struct log *log)
{
    struct frame gap = {.stream = LOG_GAP, .offset = log->offset, .end = log->size};
    struct frame end = {.stream = FRAME_END, .offset = log->size, .end = log->size};
    int result = 0;

    if (gap.end > gap.offset)
        result = write_frame(log, &gap, bytes_of(NULL, 0));
    if (result == 0)
        result = write_frame(log, &end, bytes_of(NULL, 0));
    if (result == 0 && (fdatasync(log->fd) < 0 || sync_directory(log->directory) < 0))
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
    bool ends = log->finished && !log->ended;

    log->ended = log->ended || log->finished;
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
