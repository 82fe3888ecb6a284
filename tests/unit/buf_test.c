/* The growing buffer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/util/buf.h"

static void appended_bytes_follow_each_other(void **state)
{
    cleanup_buf struct buf buf = {0};

    (void)state;
    for (unsigned i = 0; i < 10000; i++) {
        uint8_t bytes[3] = {(uint8_t)i, (uint8_t)(i >> 8), 0xaa};

        buf_append(&buf, bytes, 1 + i % 3);
    }
    size_t at = 0;

    for (unsigned i = 0; i < 10000; i++) {
        assert_int_equal(buf.data[at], (uint8_t)i);
        at += 1 + i % 3;
    }
    assert_int_equal(buf.size, at);
    assert_true(buf.capacity >= buf.size);
}

static void empty_append_needs_no_memory(void **state)
{
    cleanup_buf struct buf buf = {0};

    (void)state;
    buf_append(&buf, NULL, 0);
    assert_null(buf.data);
    assert_int_equal(buf_bytes(&buf).size, 0);
}

static void reserve_keeps_pointers_valid(void **state)
{
    cleanup_buf struct buf buf = {0};

    (void)state;
    buf_reserve(&buf, 1000);
    uint8_t *data = buf.data;

    for (int i = 0; i < 1000; i++)
        buf_append(&buf, "x", 1);
    assert_ptr_equal(buf.data, data);
    buf_done(&buf);
    assert_null(buf.data);
    assert_int_equal(buf.size, 0);
    assert_int_equal(buf.capacity, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appended_bytes_follow_each_other),
        cmocka_unit_test(empty_append_needs_no_memory),
        cmocka_unit_test(reserve_keeps_pointers_valid),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
