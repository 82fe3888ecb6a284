/* From time to compute units to money: exact, and rounded once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/meter/amount.h"

#define MIB (1ULL << 20)
#define HOUR_US (3600 * AMOUNT_US_PER_S)

static const struct pricing half_when_paused = {
    .version = "test", .unit_hour_usd_nanos = 120000000, .paused_millis = 500};

static uint64_t micros(uint64_t rate_millis, const struct pricing *pricing, uint64_t running_us,
                       uint64_t paused_us)
{
    return amount_usd_micros(
        amount_cost(amount_used(rate_millis, pricing, running_us, paused_us), pricing));
}

static void the_larger_share_is_the_rate(void **state)
{
    (void)state;
    assert_int_equal(amount_rate_millis(1000, 512 * MIB), 1000);
    assert_int_equal(amount_rate_millis(50, 32 * MIB), 1000);
    assert_int_equal(amount_rate_millis(2500, 512 * MIB), 2500);
    assert_int_equal(amount_rate_millis(1000, 2048 * MIB), 4000);
    assert_int_equal(amount_rate_millis(64000, 16384 * MIB), 64000);
    /* One byte more is a thousandth more. */
    assert_int_equal(amount_rate_millis(1000, 512 * MIB + 1), 1001);
    assert_int_equal(amount_rate_millis(1000, UINT64_MAX), 34359738368000);
}

static void the_standard_runtime_costs_twelve_cents_an_hour(void **state)
{
    (void)state;
    assert_int_equal(micros(1000, pricing_current(), HOUR_US, 0), 120000);
    assert_int_equal(micros(2000, pricing_current(), HOUR_US, 0), 240000);
    assert_int_equal(micros(1000, pricing_current(), 24 * 365 * HOUR_US, 0), 1051200000);
}

static void half_a_millionth_is_rounded_up(void **state)
{
    (void)state;
    /* 30 ms of the standard runtime are exactly one millionth of a dollar. */
    assert_int_equal(micros(1000, pricing_current(), 30000, 0), 1);
    assert_int_equal(micros(1000, pricing_current(), 14999, 0), 0);
    assert_int_equal(micros(1000, pricing_current(), 15000, 0), 1);
    assert_int_equal(micros(1000, pricing_current(), 44999, 0), 1);
    assert_int_equal(micros(1000, pricing_current(), 45000, 0), 2);
}

static void parts_add_up_before_they_are_rounded(void **state)
{
    amount_money money = 0;

    (void)state;
    for (int i = 0; i < 3000; i++)
        money += amount_cost(amount_used(1001, pricing_current(), 10, 0), pricing_current());
    assert_int_equal(amount_usd_micros(money), micros(1001, pricing_current(), 30000, 0));
}

static void a_pause_costs_what_the_price_list_says(void **state)
{
    (void)state;
    assert_int_equal(micros(1000, pricing_current(), 0, HOUR_US), 0);
    assert_int_equal(micros(1000, &half_when_paused, 0, HOUR_US), 60000);
    assert_int_equal(amount_unit_us(amount_used(1000, &half_when_paused, 10, 10)), 15);
    assert_true(amount_burn(1000, &half_when_paused, true) > 0);
    assert_true(amount_burn(1000, pricing_current(), true) == 0);
}

static void a_thousand_of_the_largest_for_ten_years_do_not_overflow(void **state)
{
    uint64_t ten_years = 10 * 365 * 24 * HOUR_US;
    amount_money money = 0;

    (void)state;
    for (int i = 0; i < 1024; i++)
        money +=
            amount_cost(amount_used(64000, pricing_current(), ten_years, 0), pricing_current());
    assert_int_equal(amount_usd_micros(money) / 1000000, 1024ULL * 64 * 87600 * 12 / 100);
}

static void a_version_that_is_not_known_costs_nothing(void **state)
{
    (void)state;
    assert_string_equal(pricing_find("1999-01")->version, "");
    assert_int_equal(micros(1000, pricing_find("1999-01"), HOUR_US, 0), 0);
    assert_string_equal(pricing_find("2026-11")->version, "2026-11");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_larger_share_is_the_rate),
        cmocka_unit_test(the_standard_runtime_costs_twelve_cents_an_hour),
        cmocka_unit_test(half_a_millionth_is_rounded_up),
        cmocka_unit_test(parts_add_up_before_they_are_rounded),
        cmocka_unit_test(a_pause_costs_what_the_price_list_says),
        cmocka_unit_test(a_thousand_of_the_largest_for_ten_years_do_not_overflow),
        cmocka_unit_test(a_version_that_is_not_known_costs_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
