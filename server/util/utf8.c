#include "server/util/utf8.h"

#include <string.h>

/* The size of the sequence that the text begins with, or 0 when it is none. */
static size_t sequence_size(struct bytes text)
{
    const uint8_t *p = text.data;
    size_t size;
    uint32_t point;

    if (p[0] < 0x80)
        return 1;
    if (p[0] >= 0xc2 && p[0] <= 0xdf) {
        size = 2;
        point = p[0] & 0x1fU;
    } else if ((p[0] & 0xf0) == 0xe0) {
        size = 3;
        point = p[0] & 0x0fU;
    } else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
        size = 4;
        point = p[0] & 0x07U;
    } else {
        return 0;
    }
    if (size > text.size)
        return 0;
    for (size_t i = 1; i < size; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        point = point << 6 | (p[i] & 0x3fU);
    }
    bool overlong = (size == 3 && point < 0x800) || (size == 4 && point < 0x10000);
    bool surrogate = point >= 0xd800 && point <= 0xdfff;

    return overlong || surrogate || point > 0x10ffff ? 0 : size;
}

bool utf8_valid(struct bytes text)
{
    for (size_t size; text.size > 0; text = bytes_of(text.data + size, text.size - size)) {
        size = sequence_size(text);
        if (size == 0)
            return false;
    }
    return true;
}

char *utf8_lossy(struct arena *arena, struct bytes text)
{
    char *out = arena_alloc(arena, text.size * 3 + 1);
    size_t at = 0;

    for (size_t size; text.size > 0; text = bytes_of(text.data + size, text.size - size)) {
        size = sequence_size(text);
        if (size == 0) {
            memcpy(out + at, "\xef\xbf\xbd", 3);
            at += 3;
            size = 1;
        } else {
            memcpy(out + at, text.data, size);
            at += size;
        }
    }
    return out;
}
