/*
 * A growing byte buffer that its holder owns. Allocation failure ends the process: the server
 * bounds what it buffers, so running out of memory is not a state it can serve from.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "server/util/bytes.h"

struct buf {
    uint8_t *data;
    size_t size;
    size_t capacity;
};

void buf_reserve(struct buf *buf, size_t more);
void buf_append(struct buf *buf, const void *data, size_t size);
void buf_done(struct buf *buf);

#define cleanup_buf __attribute__((cleanup(buf_done)))

static inline struct bytes buf_bytes(const struct buf *buf)
{
    return bytes_of(buf->data, buf->size);
}
