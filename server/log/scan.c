/* Finding the end of a log that somebody else wrote. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "server/log/private.h"
#include "server/util/cleanup.h"
#include "server/util/limits.h"

/* Many small frames in one read, and not too much for each large one. */
#define WINDOW (16U << 10)

struct scan {
    struct log *log;
    uint8_t *data;
    uint64_t position; /* of data in the file */
    size_t size;
    uint64_t last; /* position of the last frame, 0 without one */
    bool cut;      /* the log is ours to mend */
};

int64_t log_pread(int fd, void *data, size_t size, uint64_t position)
{
    size_t total = 0;

    while (total < size) {
        ssize_t got = pread(fd, (uint8_t *)data + total, size - total, (off_t)(position + total));

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -EIO;
        if (got == 0)
            break;
        total += (size_t)got;
    }
    return (int64_t)total;
}

/* The header at a position; 1, 0 at the end of the file or before a part of one, or -errno. */
static int header_at(struct scan *scan, uint64_t position, const uint8_t **ret_header)
{
    if (position < scan->position || position + FRAME_HEADER > scan->position + scan->size) {
        int64_t size = log_pread(scan->log->fd, scan->data, WINDOW, position);

        if (size < 0)
            return (int)size;
        scan->position = position;
        scan->size = (size_t)size;
    }
    if (position + FRAME_HEADER > scan->position + scan->size)
        return 0;
    *ret_header = scan->data + (position - scan->position);
    return 1;
}

/* Power failed while a file system grew the file: zeros up to the end. Returns 1, 0 or -errno. */
static int zeros_follow(struct scan *scan, uint64_t position)
{
    for (;;) {
        int64_t size = log_pread(scan->log->fd, scan->data, WINDOW, position);

        scan->size = 0;
        if (size <= 0)
            return size == 0 ? 1 : (int)size;
        for (int64_t i = 0; i < size; i++) {
            if (scan->data[i] != 0)
                return 0;
        }
        position += (uint64_t)size;
    }
}

/* Returns 1 when the last frame's payload is what its header says, 0 when not, -errno. */
static int payload_whole(struct log *log, uint64_t position, const struct frame *frame)
{
    size_t size = frame_payload(frame);

    if (frame->stream == LOG_GAP)
        return 1;
    cleanup_free uint8_t *payload = malloc(size ? size : 1);

    if (!payload)
        return -ENOMEM;
    int64_t got = log_pread(log->fd, payload, size, position + FRAME_HEADER);

    if (got < 0)
        return (int)got;
    return (size_t)got == size && frame_crc(bytes_of(payload, size)) == frame->payload_crc;
}

static void take_frame(struct scan *scan, const struct frame *frame)
{
    struct log *log = scan->log;

    log_mark(log, frame->offset, log->position);
    scan->last = log->position;
    log->position = frame_place(log->position + FRAME_HEADER + frame_payload(frame));
    log->offset = frame->end;
    if (frame->stream == FRAME_END) {
        log->ended = true;
        log->refusal = -EPIPE;
    }
}

/* A header that is none: what was cut off, or damage. */
static int judge_bad_header(struct scan *scan)
{
    struct log *log = scan->log;
    int zeros = zeros_follow(scan, log->position);

    if (zeros == 0) {
        log->read_error = -EUCLEAN;
        log->refusal = -EUCLEAN;
    }
    return zeros < 0 ? zeros : 0;
}

/*
 * Whoever was filling it was killed: all that follows is its payload. Somebody who only looks
 * leaves it to whoever is filling it.
 */
static int take_open(struct scan *scan, struct frame *frame, uint64_t file_size)
{
    struct log *log = scan->log;
    uint64_t size = file_size - log->position - FRAME_HEADER;

    if (!scan->cut || size == 0)
        return 0;
    if (size > LIMIT_LOG_FRAME)
        return judge_bad_header(scan);
    return log_close_frame(log, frame, size);
}

/* Goes from frame to frame as long as they are whole and follow each other. */
static int walk(struct scan *scan, uint64_t file_size)
{
    struct log *log = scan->log;

    for (;;) {
        const uint8_t *header = NULL;
        struct frame frame;
        int result = header_at(scan, log->position, &header);

        if (result <= 0)
            return result;
        if (!frame_decode(header, &frame) || frame.offset != log->offset || log->ended)
            return judge_bad_header(scan);
        if ((frame.stream & FRAME_OPEN) != 0)
            return take_open(scan, &frame, file_size);
        if (log->position + FRAME_HEADER + frame_payload(&frame) > file_size)
            return 0;
        take_frame(scan, &frame);
    }
}

/*
 * The last frame's bytes may never have reached the disk although the file's length did. In a log
 * that was ended the last frame has none: its bytes were promised, their loss must show as damage.
 */
static int drop_unwritten(struct scan *scan)
{
    struct log *log = scan->log;
    uint8_t header[FRAME_HEADER];
    struct frame frame;

    if (!scan->last)
        return 0;
    int64_t size = log_pread(log->fd, header, sizeof(header), scan->last);

    if (size < 0)
        return (int)size;
    if (size < FRAME_HEADER || !frame_decode(header, &frame))
        return -EIO;
    int whole = payload_whole(log, scan->last, &frame);

    if (whole == 0) {
        log->position = scan->last;
        log->offset = frame.offset;
        while (log->mark_count && log->marks[log->mark_count - 1].position >= log->position)
            log->mark_count--;
    }
    return whole < 0 ? whole : 0;
}

/* A gap that there was no room for where it belongs. */
static int take_noted_gap(struct log *log)
{
    uint8_t header[FRAME_HEADER];
    struct frame gap;
    int64_t size = log_pread(log->fd, header, sizeof(header), FILE_GAP);

    if (size < 0)
        return (int)size;
    if (size == FRAME_HEADER && frame_decode(header, &gap) && gap.stream == LOG_GAP &&
        gap.offset == log->offset) {
        log->size = gap.end;
        log->missing = (enum log_gap_reason)gap.payload_crc;
    }
    return 0;
}

int log_scan(struct log *log, bool cut)
{
    cleanup_free uint8_t *data = malloc(WINDOW);
    struct scan scan = {.log = log, .data = data, .cut = cut};

    if (!data)
        return -ENOMEM;
    off_t file_size = lseek(log->fd, 0, SEEK_END);

    if (file_size < 0)
        return -EIO;
    log->position = FILE_HEADER;
    int result = walk(&scan, (uint64_t)file_size);

    if (result == 0)
        result = drop_unwritten(&scan);
    if (result < 0)
        return result;
    log->size = log->offset;
    if (!log->ended && take_noted_gap(log) < 0)
        return -EIO;
    if (cut && !log->refusal && log->position < (uint64_t)file_size &&
        ftruncate(log->fd, (off_t)log->position) < 0)
        return -EIO;
    return 0;
}
