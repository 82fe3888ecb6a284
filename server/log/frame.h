/*
 * The bytes of a log's file: a file header, then frames, all little-endian. A frame is a header of
 * FRAME_HEADER bytes and its payload. Header and payload have a checksum each (CRC-32, computed by
 * libdeflate), so that a frame which was cut off can be told from one that was damaged: only the
 * former has a header that is right.
 *
 * Headers are written over: an open frame is closed, a gap grows. For a SIGKILL the kernel gives up
 * a write between two pages, so each header lies in one page (frame_place): whenever its writer
 * dies, it is the old or the new one.
 *
 * A gap on a full disk may find no room behind the last frame. The file header has a place for the
 * header of one, which needs none: it counts as long as no frame begins where the gap does.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "server/util/bytes.h"

#define FRAME_HEADER 40
#define FILE_GAP 16 /* where the place for a gap is; zeros without one */
#define FILE_HEADER (FILE_GAP + FRAME_HEADER)

/* What the file knows beside the streams of log.h: nothing follows this one. */
#define FRAME_END 4
/*
 * Added to a stream: a frame that is being filled. Its payload is whatever follows it in the file,
 * and its header will be written once more, with extent and checksum, when that is known.
 */
#define FRAME_OPEN 0x10

struct frame {
    uint32_t stream;
    uint32_t payload_crc; /* of a gap: enum log_gap_reason */
    uint64_t offset;      /* of the first byte */
    uint64_t end;         /* after the last one */
    uint64_t time_us;
};

void frame_file_header(uint8_t ret_header[FILE_HEADER]);
bool frame_file_header_valid(const uint8_t header[FILE_HEADER]);

void frame_encode(const struct frame *frame, uint8_t ret_header[FRAME_HEADER]);
/* False for what is not a whole header of a frame. */
bool frame_decode(const uint8_t header[FRAME_HEADER], struct frame *ret_frame);

uint32_t frame_crc(struct bytes payload);

/* Bytes of payload in the file: a gap has an extent and none of its bytes. */
size_t frame_payload(const struct frame *frame);

/* Where the frame lies that follows what ends here; between them are zeros. */
uint64_t frame_place(uint64_t end);
