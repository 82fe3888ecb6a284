/*
 * Memory of one call: allocated in blocks, released together. Serves as protobuf-c's allocator, and
 * then keeps a limit, since what it unpacks is as large as a client likes. Not thread-safe: a call
 * is worked on by one thread at a time.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>

struct arena;

/* limit: bytes after which arena_allocator refuses. */
struct arena *arena_new(size_t limit);
void arena_free(struct arena *arena);
/* Releases all allocations, and keeps one block for the next ones. */
void arena_reset(struct arena *arena);

/* Zeroed memory, aligned for any type; never NULL: without memory the process ends. */
void *arena_alloc(struct arena *arena, size_t size);
/* Copies of strings and bytes. */
char *arena_strdup(struct arena *arena, const char *string);
void *arena_memdup(struct arena *arena, const void *data, size_t size);
char *arena_printf(struct arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* For protobuf_c_message_unpack; lives as long as the arena. Refuses beyond the limit. */
ProtobufCAllocator *arena_allocator(struct arena *arena);
