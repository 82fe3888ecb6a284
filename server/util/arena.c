#include "server/util/arena.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_BLOCK 8192

struct block {
    struct block *next;
    size_t size;
    size_t used;
    alignas(max_align_t) unsigned char data[];
};

struct arena {
    ProtobufCAllocator allocator;
    struct block *blocks;
    size_t limit;
    size_t total;
};

static void *allocator_alloc(void *opaque, size_t size)
{
    struct arena *arena = opaque;

    if (size > arena->limit || arena->total > arena->limit - size)
        return NULL;
    return arena_alloc(arena, size);
}

static void allocator_free(void *arena, void *pointer)
{
    (void)arena;
    (void)pointer;
}

struct arena *arena_new(size_t limit)
{
    struct arena *arena = calloc(1, sizeof(*arena));

    if (!arena)
        abort();
    arena->limit = limit;
    arena->allocator = (ProtobufCAllocator){allocator_alloc, allocator_free, arena};
    return arena;
}

void arena_free(struct arena *arena)
{
    if (!arena)
        return;
    for (struct block *block = arena->blocks, *next; block; block = next) {
        next = block->next;
        free(block);
    }
    free(arena);
}

void arena_reset(struct arena *arena)
{
    struct block *keep = NULL;

    for (struct block *block = arena->blocks, *next; block; block = next) {
        next = block->next;
        if (!keep && block->size == ARENA_BLOCK)
            keep = block;
        else
            free(block);
    }
    if (keep) {
        keep->next = NULL;
        keep->used = 0;
    }
    arena->blocks = keep;
    arena->total = keep ? keep->size : 0;
}

static struct block *arena_grow(struct arena *arena, size_t size)
{
    size_t block_size = size > ARENA_BLOCK ? size : ARENA_BLOCK;

    struct block *block = malloc(sizeof(*block) + block_size);

    if (!block)
        abort();
    block->size = block_size;
    block->used = 0;
    block->next = arena->blocks;
    arena->blocks = block;
    arena->total += block_size;
    return block;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    const size_t align = alignof(max_align_t);

    size = (size + align - 1) / align * align;
    struct block *block = arena->blocks;

    if (!block || block->size - block->used < size)
        block = arena_grow(arena, size);
    void *pointer = block->data + block->used;

    block->used += size;
    return memset(pointer, 0, size);
}

void *arena_memdup(struct arena *arena, const void *data, size_t size)
{
    void *copy = arena_alloc(arena, size ? size : 1);

    return size ? memcpy(copy, data, size) : copy;
}

char *arena_strdup(struct arena *arena, const char *string)
{
    return arena_memdup(arena, string, strlen(string) + 1);
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    int size = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = arena_alloc(arena, size < 0 ? 1 : (size_t)size + 1);

    va_start(args, format);
    (void)vsnprintf(text, (size_t)size + 1, format, args);
    va_end(args);
    return text;
}

ProtobufCAllocator *arena_allocator(struct arena *arena)
{
    return &arena->allocator;
}
