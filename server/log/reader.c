/* Cursors, and the waking of those that follow. */
#include <errno.h>
#include <stdlib.h>

#include "server/log/private.h"
#include "server/util/cleanup.h"
#include "server/util/limits.h"

#define WINDOW_MAX (FRAME_HEADER + LIMIT_LOG_FRAME)
#define PASSED_MAX 256 /* frames that one call passes over: 16 MiB at most */

/* The last mark that is not behind the offset. Holds the log's lock. */
static uint64_t find_position(const struct log *log, uint64_t offset)
{
    size_t low = 0;
    size_t high = log->mark_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (log->marks[middle].offset <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low ? log->marks[low - 1].position : FILE_HEADER;
}

static void follow(struct log_reader *reader)
{
    struct log *log = reader->log;

    lock_scope(&log->follow_lock);
    reader->next = log->followers;
    if (reader->next)
        reader->next->previous = reader;
    log->followers = reader;
}

int log_reader_new(struct log *log, uint64_t offset, log_wake_fn *wake, void *arg,
                   struct log_reader **ret_reader)
{
    struct log_reader *reader = calloc(1, sizeof(*reader));

    if (!reader)
        abort();
    (void)pthread_mutex_lock(&log->lock);
    bool beyond = offset > log->size;

    reader->position = find_position(log, offset);
    (void)pthread_mutex_unlock(&log->lock);
    if (beyond) {
        free(reader);
        return -ERANGE;
    }
    reader->log = log_ref(log);
    reader->offset = offset;
    reader->wake = wake;
    reader->wake_arg = arg;
    reader->caught_up = true;
    *ret_reader = reader;
    if (wake)
        follow(reader);
    return 0;
}

void log_reader_choose(struct log_reader *reader, enum log_stream stream)
{
    reader->only = stream;
}

static void unfollow(struct log_reader *reader)
{
    struct log *log = reader->log;

    lock_scope(&log->follow_lock);
    reader->wake = NULL;
    while (reader->waking > 0)
        (void)pthread_cond_wait(&log->follow_idle, &log->follow_lock);
    if (reader->previous)
        reader->previous->next = reader->next;
    else
        log->followers = reader->next;
    if (reader->next)
        reader->next->previous = reader->previous;
}

static void drop_window(struct log_reader *reader)
{
    free(reader->window.data);
    reader->window.data = NULL;
    reader->window.size = 0;
    archive_cache_done(&reader->cache);
}

void log_reader_free(struct log_reader *reader)
{
    if (!reader)
        return;
    if (reader->wake)
        unfollow(reader);
    log_unref(reader->log);
    drop_window(reader);
    free(reader);
}

void log_wake_followers(struct log *log, bool all)
{
    lock_scope(&log->follow_lock);
    for (struct log_reader *reader = log->followers; reader; reader = reader->next) {
        log_wake_fn *wake = reader->wake;

        if (!wake || !(all || reader->caught_up))
            continue;
        /* The reader stays in the list as long as it is being woken. */
        reader->caught_up = false;
        reader->waking++;
        (void)pthread_mutex_unlock(&log->follow_lock);
        wake(reader->wake_arg);
        (void)pthread_mutex_lock(&log->follow_lock);
        if (--reader->waking == 0)
            (void)pthread_cond_broadcast(&log->follow_idle);
    }
}

static uint64_t written(struct log *log)
{
    lock_scope(&log->lock);
    return log->position;
}

/* Whether the window holds so many bytes from the reader's position on. */
static bool window_has(const struct log_reader *reader, size_t size)
{
    uint64_t begin = reader->window.position;

    return reader->position >= begin && reader->position + size <= begin + reader->window.size;
}

static int64_t read_file(struct log_reader *reader, void *data, size_t size, uint64_t position)
{
    const struct log *log = reader->log;

    return log->archive ? archive_pread(log->archive, log->fd, &reader->cache, data, size, position)
                        : log_pread(log->fd, data, size, position);
}

/* Moves the window to the reader's position. 1, 0 when nothing is there, -EIO, -EUCLEAN. */
static int move_window(struct log_reader *reader)
{
    uint64_t end = written(reader->log);

    if (reader->position >= end)
        return 0;
    size_t size = end - reader->position < WINDOW_MAX ? end - reader->position : WINDOW_MAX;

    /* A larger one is kept while the reader is busy, and dropped when it has seen the end. */
    if (!reader->window.data)
        reader->window.data = malloc(WINDOW_MAX);
    if (!reader->window.data)
        abort();
    reader->window.position = reader->position;
    reader->window.size = 0;
    int64_t got = read_file(reader, reader->window.data, size, reader->position);

    if (got < 0)
        return (int)got;
    reader->window.size = (size_t)got;
    return 1;
}

/* Has so many bytes in the window. Returns 1, 0 when nothing is there, -EUCLEAN, -EIO. */
static int want(struct log_reader *reader, size_t size)
{
    if (window_has(reader, size))
        return 1;
    int result = move_window(reader);

    if (result <= 0)
        return result;
    return window_has(reader, size) ? 1 : -EUCLEAN;
}

/* What an ended log lost when not even the gap could be written; 0 otherwise. */
static int unwritten_gap(struct log_reader *reader, struct log_frame *ret_frame)
{
    struct log *log = reader->log;

    lock_scope(&log->lock);
    if (log->read_error)
        return log->read_error;
    if (!log->ended || reader->position < log->position || reader->offset >= log->size)
        return 0;
    *ret_frame = (struct log_frame){.stream = LOG_GAP,
                                    .offset = reader->offset,
                                    .gap_end = log->size,
                                    .gap_reason = log->missing};
    reader->offset = log->size;
    return 1;
}

/*
 * At the end, seemingly. First says so and then looks again: a writer that has not been seen by the
 * second look will see what was said. Returns 1 when there is more after all.
 */
static bool grown_meanwhile(struct log_reader *reader)
{
    struct log *log = reader->log;

    (void)pthread_mutex_lock(&log->follow_lock);
    reader->caught_up = true;
    (void)pthread_mutex_unlock(&log->follow_lock);
    return written(log) > reader->position;
}

static void deliver(struct log_reader *reader, const struct frame *frame,
                    struct log_frame *ret_frame)
{
    uint64_t skip = reader->offset - frame->offset;

    *ret_frame = (struct log_frame){
        .stream = (enum log_stream)frame->stream,
        .offset = reader->offset,
        .time_us = frame->time_us,
    };
    if (frame->stream == LOG_GAP) {
        ret_frame->gap_end = frame->end;
        ret_frame->gap_reason = (enum log_gap_reason)frame->payload_crc;
    } else {
        const uint8_t *payload =
            reader->window.data + (reader->position - reader->window.position) + FRAME_HEADER;

        ret_frame->payload = bytes_of(payload + skip, frame->end - reader->offset);
    }
    reader->offset = frame->end;
}

static bool is_skipped(const struct log_reader *reader, const struct frame *frame)
{
    return reader->only && frame->stream != (uint32_t)reader->only && frame->stream != LOG_GAP &&
           frame->stream != FRAME_END;
}

/* One frame, or past one that ends before the offset. 2: passed; else as log_reader_next. */
static int step(struct log_reader *reader, struct log_frame *ret_frame)
{
    struct frame frame;
    int result = want(reader, FRAME_HEADER);

    if (result <= 0)
        return result;
    const uint8_t *header = reader->window.data + (reader->position - reader->window.position);

    if (!frame_decode(header, &frame) || frame.offset > reader->offset)
        return -EUCLEAN;
    size_t size = FRAME_HEADER + frame_payload(&frame);

    if (frame.end <= reader->offset || is_skipped(reader, &frame)) {
        reader->position = frame_place(reader->position + size);
        reader->offset = frame.end > reader->offset ? frame.end : reader->offset;
        return 2;
    }
    result = want(reader, size);
    if (result <= 0)
        return result == 0 ? -EUCLEAN : result;
    const uint8_t *payload =
        reader->window.data + (reader->position - reader->window.position) + FRAME_HEADER;

    if (frame.stream != LOG_GAP &&
        frame_crc(bytes_of(payload, size - FRAME_HEADER)) != frame.payload_crc)
        return -EUCLEAN;
    deliver(reader, &frame, ret_frame);
    reader->position = frame_place(reader->position + size);
    return 1;
}

int log_reader_next(struct log_reader *reader, struct log_frame *ret_frame)
{
    int passed = 0;

    while (reader->error == 0) {
        int result = step(reader, ret_frame);

        if (result == 1)
            return 1;
        if (result == 2 && reader->only && ++passed == PASSED_MAX)
            return -EAGAIN;
        if (result == 0) {
            drop_window(reader);
            if (grown_meanwhile(reader))
                continue;
            result = unwritten_gap(reader, ret_frame);
            if (result >= 0)
                return result;
        }
        if (result < 0)
            reader->error = result;
    }
    return reader->error;
}
