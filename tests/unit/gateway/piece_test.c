/* Memory follows the bytes that wait, not the pieces in which they came. */
#include <event2/buffer.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "server/gateway/connection.h"

#define PIECES 50000
#define BLOCK_BYTES 512 /* the least that a block of the library takes */

static void test_small_pieces(void **state)
{
    struct evbuffer *from = evbuffer_new(), *to = evbuffer_new();
    char byte;

    (void)state;
    for (int i = 0; i < PIECES; i++) {
        byte = (char)i;
        assert_int_equal(evbuffer_add(from, &byte, 1), 0);
        connection_pass(from, to);
        assert_int_equal(evbuffer_get_length(from), 0);
    }
    assert_int_equal(evbuffer_get_length(to), PIECES);
    assert_true(evbuffer_peek(to, -1, NULL, NULL, 0) <= PIECES / BLOCK_BYTES);
    for (int i = 0; i < PIECES; i++) {
        assert_int_equal(evbuffer_remove(to, &byte, 1), 1);
        assert_int_equal(byte, (char)i);
    }
    evbuffer_free(from);
    evbuffer_free(to);
}

/* Pieces of each size come whole and in order. */
static void test_sizes(void **state)
{
    static uint8_t piece[GATEWAY_PIECE_BYTES + 2], got[GATEWAY_PIECE_BYTES + 2];
    struct evbuffer *from = evbuffer_new(), *to = evbuffer_new();

    (void)state;
    for (size_t i = 0; i < sizeof(piece); i++)
        piece[i] = (uint8_t)(i * 7);
    connection_pass(from, to);
    assert_int_equal(evbuffer_get_length(to), 0);
    for (size_t size = GATEWAY_PIECE_BYTES - 2; size <= sizeof(piece); size++) {
        assert_int_equal(evbuffer_add(from, piece, size), 0);
        connection_pass(from, to);
        assert_int_equal(evbuffer_get_length(from), 0);
    }
    for (size_t size = GATEWAY_PIECE_BYTES - 2; size <= sizeof(piece); size++) {
        assert_int_equal(evbuffer_remove(to, got, size), size);
        assert_memory_equal(got, piece, size);
    }
    assert_int_equal(evbuffer_get_length(to), 0);
    evbuffer_free(from);
    evbuffer_free(to);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_pieces),
        cmocka_unit_test(test_sizes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
