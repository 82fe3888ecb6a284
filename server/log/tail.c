/* Where the last lines of a log begin. */
#include <errno.h>
#include <stdlib.h>

#include "server/log/private.h"
#include "server/util/cleanup.h"

/* Beginnings of lines, the last LOG_TAIL_LINES + 1 of them. */
struct lines {
    uint64_t *begins;
    size_t count; /* ever seen */
    bool open;    /* a line has begun and not ended */
};

static void begin_line(struct lines *lines, uint64_t offset)
{
    lines->begins[lines->count++ % (LOG_TAIL_LINES + 1)] = offset;
    lines->open = true;
}

static void count_lines(struct lines *lines, const struct log_frame *frame)
{
    for (size_t i = 0; i < frame->payload.size; i++) {
        if (!lines->open)
            begin_line(lines, frame->offset + i);
        if (frame->payload.data[i] == '\n')
            lines->open = false;
    }
}

int log_tail_lines(struct log *log, unsigned lines, enum log_stream stream, uint64_t *ret_offset)
{
    uint64_t size = log_size(log);
    uint64_t from = size > LOG_TAIL_BYTES ? size - LOG_TAIL_BYTES : 0;
    cleanup_free uint64_t *begins = calloc(LOG_TAIL_LINES + 1, sizeof(*begins));
    struct lines found = {.begins = begins};
    struct log_reader *reader;
    struct log_frame frame;
    int result = log_reader_new(log, from, NULL, NULL, &reader);

    if (!begins)
        abort();
    if (result < 0)
        return result;
    if (lines > LOG_TAIL_LINES)
        lines = LOG_TAIL_LINES;
    log_reader_choose(reader, stream);
    while ((result = log_reader_next(reader, &frame)) > 0 || result == -EAGAIN) {
        if (result > 0)
            count_lines(&found, &frame);
    }
    log_reader_free(reader);
    if (result < 0)
        return result;
    if (lines == 0 || found.count == 0)
        *ret_offset = lines == 0 ? size : from;
    else if (found.count <= lines)
        *ret_offset = found.begins[0];
    else
        *ret_offset = found.begins[(found.count - lines) % (LOG_TAIL_LINES + 1)];
    return 0;
}
