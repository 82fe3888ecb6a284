/* The memory of a call: aligned, zeroed, bounded, released together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdalign.h>
#include <string.h>

#include "server/util/arena.h"

#define LIMIT (64U << 10)

static void memory_is_aligned_zeroed_and_separate(void **state)
{
    struct arena *arena = arena_new(LIMIT);
    uint8_t *pieces[100];

    (void)state;
    for (size_t i = 0; i < 100; i++) {
        pieces[i] = arena_alloc(arena, i + 1);
        assert_non_null(pieces[i]);
        assert_int_equal((uintptr_t)pieces[i] % alignof(max_align_t), 0);
        for (size_t b = 0; b <= i; b++)
            assert_int_equal(pieces[i][b], 0);
        memset(pieces[i], (int)i, i + 1);
    }
    for (size_t i = 0; i < 100; i++) {
        for (size_t b = 0; b <= i; b++)
            assert_int_equal(pieces[i][b], i);
    }
    arena_free(arena);
    arena_free(NULL);
}

/* What a client sends is unpacked within the limit; what the server makes of it has none. */
static void unpacking_is_limited(void **state)
{
    struct arena *arena = arena_new(LIMIT);
    ProtobufCAllocator *allocator = arena_allocator(arena);
    size_t total = 0;

    (void)state;
    assert_null(allocator->alloc(allocator->allocator_data, LIMIT + 1));
    assert_null(allocator->alloc(allocator->allocator_data, SIZE_MAX));
    assert_null(allocator->alloc(allocator->allocator_data, SIZE_MAX - 7));
    while (total <= LIMIT && allocator->alloc(allocator->allocator_data, 1000))
        total += 1000;
    assert_in_range(total, LIMIT / 2, LIMIT);
    assert_non_null(arena_alloc(arena, LIMIT));
    arena_reset(arena);
    assert_non_null(allocator->alloc(allocator->allocator_data, 1000));
    arena_free(arena);
}

static void reset_makes_room_again(void **state)
{
    struct arena *arena = arena_new(LIMIT);

    (void)state;
    for (int round = 0; round < 100; round++) {
        uint8_t *large = arena_alloc(arena, LIMIT / 2);
        uint8_t *small = arena_alloc(arena, 100);

        assert_non_null(large);
        assert_non_null(small);
        assert_int_equal(small[99], 0);
        memset(large, 0xff, LIMIT / 2);
        memset(small, 0xff, 100);
        arena_reset(arena);
    }
    arena_free(arena);
}

static void copies_are_equal(void **state)
{
    struct arena *arena = arena_new(LIMIT);
    char *text;

    (void)state;
    assert_string_equal(arena_strdup(arena, "nest"), "nest");
    assert_string_equal(arena_strdup(arena, ""), "");
    assert_memory_equal(arena_memdup(arena, "a\0b", 3), "a\0b", 3);
    assert_non_null(arena_memdup(arena, NULL, 0));
    text = arena_printf(arena, "%s-%d", "crow", 42);
    assert_string_equal(text, "crow-42");
    arena_free(arena);
}

static void allocator_is_the_arena(void **state)
{
    struct arena *arena = arena_new(LIMIT);
    ProtobufCAllocator *allocator = arena_allocator(arena);
    void *pointer = allocator->alloc(allocator->allocator_data, 10);

    (void)state;
    assert_non_null(pointer);
    allocator->free(allocator->allocator_data, pointer);
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_aligned_zeroed_and_separate),
        cmocka_unit_test(unpacking_is_limited),
        cmocka_unit_test(reset_makes_room_again),
        cmocka_unit_test(copies_are_equal),
        cmocka_unit_test(allocator_is_the_arena),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
