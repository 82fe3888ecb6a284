/* Days and months of UTC. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/meter/day.h"

/* 2024-02-29 23:59:59.999999, the last microsecond of a leap year's longest February. */
#define LEAP (1709251200ULL * 1000000 - 1)
/* 2026-12-31 12:00:00 */
#define SYLVESTER (1798718400ULL * 1000000)

static void a_day_has_a_number_and_a_name(void **state)
{
    char text[DAY_TEXT_SIZE];

    (void)state;
    assert_int_equal(day_number(0), 19700101);
    assert_int_equal(day_number(LEAP), 20240229);
    assert_int_equal(day_number(LEAP + 1), 20240301);
    day_text(20240229, text);
    assert_string_equal(text, "2024-02-29");
}

static void days_and_months_begin_at_midnight(void **state)
{
    (void)state;
    assert_int_equal(day_start(LEAP), LEAP + 1 - DAY_US);
    assert_int_equal(day_start(LEAP + 1), LEAP + 1);
    assert_int_equal(day_month_start(LEAP), LEAP + 1 - 29 * DAY_US);
    assert_int_equal(day_month_start(LEAP + 1), LEAP + 1);
    assert_int_equal(day_next_month(LEAP), LEAP + 1);
    assert_int_equal(day_number(day_next_month(LEAP + 1)), 20240401);
    assert_int_equal(day_number(day_next_month(SYLVESTER)), 20270101);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_day_has_a_number_and_a_name),
        cmocka_unit_test(days_and_months_begin_at_midnight),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
