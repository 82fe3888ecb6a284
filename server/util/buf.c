#include "server/util/buf.h"

#include <stdlib.h>

void buf_reserve(struct buf *buf, size_t more)
{
    size_t want = buf->size + more;

    if (want <= buf->capacity)
        return;
    size_t capacity = buf->capacity ? buf->capacity : 64;

    while (capacity < want)
        capacity *= 2;
    buf->data = realloc(buf->data, capacity);
    if (!buf->data)
        abort();
    buf->capacity = capacity;
}

void buf_append(struct buf *buf, const void *data, size_t size)
{
    if (size == 0)
        return;
    buf_reserve(buf, size);
    memcpy(buf->data + buf->size, data, size);
    buf->size += size;
}

void buf_done(struct buf *buf)
{
    free(buf->data);
    *buf = (struct buf){0};
}
