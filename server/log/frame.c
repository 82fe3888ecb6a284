#include "server/log/frame.h"

#include <libdeflate.h>

#include "server/log/le.h"
#include "server/log/log.h"
#include "server/util/limits.h"

#define VERSION 3
#define FRAME_MAGIC 0x4d524643U /* "CFRM" */
#define PAGE 4096               /* the smallest there is */

static const uint8_t file_magic[8] = {'C', 'N', 'E', 'S', 'T', 'L', 'O', 'G'};

void frame_file_header(uint8_t ret_header[FILE_HEADER])
{
    memset(ret_header, 0, FILE_HEADER);
    memcpy(ret_header, file_magic, sizeof(file_magic));
    le_put32(ret_header + 8, VERSION);
}

bool frame_file_header_valid(const uint8_t header[FILE_HEADER])
{
    uint8_t expected[FILE_HEADER];

    frame_file_header(expected);
    return memcmp(header, expected, FILE_GAP) == 0;
}

void frame_encode(const struct frame *frame, uint8_t ret_header[FRAME_HEADER])
{
    le_put32(ret_header, FRAME_MAGIC);
    le_put32(ret_header + 8, frame->stream);
    le_put32(ret_header + 12, frame->payload_crc);
    le_put64(ret_header + 16, frame->offset);
    le_put64(ret_header + 24, frame->end);
    le_put64(ret_header + 32, frame->time_us);
    le_put32(ret_header + 4, libdeflate_crc32(0, ret_header + 8, FRAME_HEADER - 8));
}

static bool frame_possible(const struct frame *frame)
{
    if (frame->end < frame->offset)
        return false;
    if (frame->stream == LOG_STDOUT || frame->stream == LOG_STDERR)
        return frame->end - frame->offset <= LIMIT_LOG_FRAME;
    if (frame->stream == (FRAME_OPEN | LOG_STDOUT) || frame->stream == (FRAME_OPEN | LOG_STDERR))
        return frame->end == frame->offset;
    return frame->stream == LOG_GAP || (frame->stream == FRAME_END && frame->end == frame->offset);
}

bool frame_decode(const uint8_t header[FRAME_HEADER], struct frame *ret_frame)
{
    if (le_get32(header) != FRAME_MAGIC ||
        le_get32(header + 4) != libdeflate_crc32(0, header + 8, FRAME_HEADER - 8))
        return false;
    struct frame frame = {
        .stream = le_get32(header + 8),
        .payload_crc = le_get32(header + 12),
        .offset = le_get64(header + 16),
        .end = le_get64(header + 24),
        .time_us = le_get64(header + 32),
    };

    if (!frame_possible(&frame))
        return false;
    *ret_frame = frame;
    return true;
}

uint32_t frame_crc(struct bytes payload)
{
    return libdeflate_crc32(0, payload.data, payload.size);
}

size_t frame_payload(const struct frame *frame)
{
    return frame->stream == LOG_GAP ? 0 : frame->end - frame->offset;
}

uint64_t frame_place(uint64_t end)
{
    uint64_t left = PAGE - end % PAGE;

    return left < FRAME_HEADER ? end + left : end;
}
