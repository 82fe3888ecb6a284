/* So many at once, so many in each window, and how long to wait for the next. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/plan/rate.h"

#define MINUTE 60000000000ULL
#define BEGIN (1000 * MINUTE)

static unsigned take_all(struct rate *rate, uint32_t per_window, uint64_t now)
{
    uint64_t wait;
    unsigned taken = 0;

    while (rate_take(rate, per_window, MINUTE, now, &wait))
        taken++;
    return taken;
}

static void a_windows_worth_comes_at_once(void **state)
{
    static const uint32_t rates[] = {1, 2, 3, 7, 30, 59, 1000, 1000000};

    (void)state;
    for (size_t i = 0; i < sizeof(rates) / sizeof(*rates); i++) {
        struct rate rate = {0};

        assert_int_equal(rate_left(&rate, rates[i], MINUTE, BEGIN), rates[i]);
        assert_int_equal(take_all(&rate, rates[i], BEGIN), rates[i]);
        assert_int_equal(rate_left(&rate, rates[i], MINUTE, BEGIN), 0);
    }
}

static void the_wait_that_is_told_is_enough_and_no_more(void **state)
{
    struct rate rate = {0};
    uint64_t wait = 0;
    uint64_t now = BEGIN;

    (void)state;
    (void)take_all(&rate, 30, now);
    assert_false(rate_take(&rate, 30, MINUTE, now, &wait));
    assert_int_equal(wait, MINUTE / 30);
    now += wait - 1;
    assert_false(rate_take(&rate, 30, MINUTE, now, &wait));
    assert_int_equal(wait, 1);
    assert_true(rate_take(&rate, 30, MINUTE, now + 1, &wait));
    assert_int_equal(take_all(&rate, 30, now + 1), 0);
}

static void a_quiet_time_fills_it_and_no_further(void **state)
{
    struct rate rate = {0};

    (void)state;
    (void)take_all(&rate, 30, BEGIN);
    assert_int_equal(rate_left(&rate, 30, MINUTE, BEGIN + MINUTE / 2), 15);
    assert_int_equal(take_all(&rate, 30, BEGIN + 100 * MINUTE), 30);
}

static void what_was_taken_for_nothing_is_put_back(void **state)
{
    struct rate rate = {0};

    (void)state;
    (void)take_all(&rate, 30, BEGIN);
    rate_give(&rate, 30, MINUTE);
    assert_int_equal(take_all(&rate, 30, BEGIN), 1);
}

static void a_smaller_rate_is_not_waited_for_longer_than_a_window(void **state)
{
    struct rate rate = {0};
    uint64_t wait = 0;

    (void)state;
    (void)take_all(&rate, 1000, BEGIN);
    assert_false(rate_take(&rate, 1, MINUTE, BEGIN, &wait));
    assert_true(wait <= MINUTE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_windows_worth_comes_at_once),
        cmocka_unit_test(the_wait_that_is_told_is_enough_and_no_more),
        cmocka_unit_test(a_quiet_time_fills_it_and_no_further),
        cmocka_unit_test(what_was_taken_for_nothing_is_put_back),
        cmocka_unit_test(a_smaller_rate_is_not_waited_for_longer_than_a_window),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
