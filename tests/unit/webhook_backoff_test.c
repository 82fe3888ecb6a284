/* How long a delivery that failed waits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <limits.h>

#include "server/util/limits.h"
#include "server/webhook/backoff.h"

#define LEAST LIMIT_WEBHOOK_BACKOFF_MIN_MS
#define MOST LIMIT_WEBHOOK_BACKOFF_MAX_MS

static void the_wait_doubles(void **state)
{
    (void)state;
    assert_int_equal(webhook_backoff_ms(1, 0), LEAST);
    assert_int_equal(webhook_backoff_ms(2, 0), 2 * LEAST);
    assert_int_equal(webhook_backoff_ms(5, 0), 16 * LEAST);
}

static void up_to_as_much_again_is_chance(void **state)
{
    (void)state;
    assert_int_equal(webhook_backoff_ms(1, 1), LEAST + 1);
    assert_int_equal(webhook_backoff_ms(1, LEAST), 2 * LEAST);
    assert_int_equal(webhook_backoff_ms(1, LEAST + 1), LEAST);
    assert_int_equal(webhook_backoff_ms(3, 4 * LEAST), 8 * LEAST);
}

static void it_stays_within_its_bounds(void **state)
{
    static const unsigned failures[] = {1, 2, 9, 10, 11, 31, 32, 33, 63, 64, 65, 1000, UINT_MAX};
    static const uint64_t random[] = {0, 1, LEAST, MOST / 2, MOST, UINT64_MAX - 1, UINT64_MAX};

    (void)state;
    for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++) {
        for (size_t j = 0; j < sizeof(random) / sizeof(random[0]); j++) {
            uint64_t ms = webhook_backoff_ms(failures[i], random[j]);

            assert_in_range(ms, LEAST, MOST);
        }
    }
    assert_int_equal(webhook_backoff_ms(UINT_MAX, MOST / 2), MOST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_wait_doubles),
        cmocka_unit_test(up_to_as_much_again_is_chance),
        cmocka_unit_test(it_stays_within_its_bounds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
