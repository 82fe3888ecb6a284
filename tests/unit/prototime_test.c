/* Durations from clients: bounded, rounded up, never negative. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "server/util/prototime.h"

static int parse(int64_t seconds, int32_t nanos, uint64_t *ret_ms)
{
    Google__Protobuf__Duration duration = GOOGLE__PROTOBUF__DURATION__INIT;

    duration.seconds = seconds;
    duration.nanos = nanos;
    return protoduration_ms(&duration, 60000, ret_ms);
}

static void durations_in_range(void **state)
{
    uint64_t ms = 0;

    (void)state;
    assert_int_equal(parse(3, 0, &ms), 0);
    assert_int_equal(ms, 3000);
    assert_int_equal(parse(0, 1, &ms), 0);
    assert_int_equal(ms, 1);
    assert_int_equal(parse(60, 0, &ms), 0);
    assert_int_equal(ms, 60000);
}

static void durations_out_of_range(void **state)
{
    uint64_t ms = 7;

    (void)state;
    assert_int_equal(parse(0, 0, &ms), -ERANGE);
    assert_int_equal(parse(-1, 0, &ms), -ERANGE);
    assert_int_equal(parse(1, -1, &ms), -ERANGE);
    assert_int_equal(parse(1, 1000000000, &ms), -ERANGE);
    assert_int_equal(parse(60, 1, &ms), -ERANGE);
    assert_int_equal(parse(INT64_MAX, 999999999, &ms), -ERANGE);
    assert_int_equal(ms, 7);
}

static void times_come_back(void **state)
{
    struct arena *arena = arena_new(4096);

    (void)state;
    Google__Protobuf__Timestamp *time = prototime_from_us(arena, 1700000000123456);

    assert_int_equal(time->seconds, 1700000000);
    assert_int_equal(time->nanos, 123456000);
    assert_int_equal(prototime_ms(time), 1700000000123);
    assert_int_equal(prototime_ms(NULL), 0);
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations_in_range),
        cmocka_unit_test(durations_out_of_range),
        cmocka_unit_test(times_come_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
