/* Bytes that somebody else owns: a base and a length, never a C string. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bytes {
    const uint8_t *data;
    size_t size;
};

static inline struct bytes bytes_of(const void *data, size_t size)
{
    return (struct bytes){.data = data, .size = size};
}

static inline struct bytes bytes_of_string(const char *string)
{
    return bytes_of(string, strlen(string));
}
