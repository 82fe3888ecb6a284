#include "server/rpc/utf8.h"

#include <stdint.h>

/* A leading byte's length and the range that its second byte must be in. */
struct lead {
    uint8_t from, to;
    uint8_t length;
    uint8_t second_from, second_to;
};

static const struct lead leads[] = {
    {0xc2, 0xdf, 2, 0x80, 0xbf}, {0xe0, 0xe0, 3, 0xa0, 0xbf}, {0xe1, 0xec, 3, 0x80, 0xbf},
    {0xed, 0xed, 3, 0x80, 0x9f}, {0xee, 0xef, 3, 0x80, 0xbf}, {0xf0, 0xf0, 4, 0x90, 0xbf},
    {0xf1, 0xf3, 4, 0x80, 0xbf}, {0xf4, 0xf4, 4, 0x80, 0x8f},
};

static const struct lead *find_lead(uint8_t byte)
{
    for (size_t i = 0; i < sizeof(leads) / sizeof(leads[0]); i++)
        if (byte >= leads[i].from && byte <= leads[i].to)
            return &leads[i];
    return NULL;
}

/* The length of the character at the start, or 0. */
static size_t character(const uint8_t *data, size_t size)
{
    const struct lead *lead = find_lead(data[0]);

    if (!lead || size < lead->length)
        return 0;
    if (data[1] < lead->second_from || data[1] > lead->second_to)
        return 0;
    for (size_t i = 2; i < lead->length; i++)
        if ((data[i] & 0xc0) != 0x80)
            return 0;
    return lead->length;
}

size_t utf8_valid_prefix(struct bytes text)
{
    size_t at = 0;

    while (at < text.size) {
        size_t step = text.data[at] < 0x80 ? 1 : character(text.data + at, text.size - at);

        if (step == 0)
            break;
        at += step;
    }
    return at;
}
