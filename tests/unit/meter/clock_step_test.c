/* The wall clock is set forth and back by an hour, and no sum changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "server/meter/meter.h"
#include "server/meter/receipt.h"
#include "server/meter/timeline.h"
#include "server/util/clock.h"
#include "tests/unit/meter/lives.h"
#include "tests/unit/stores.h"

#define STEPS "clock.wall=jump:3600000@100,clock.wall=jump:-7200000@200"
#define HOUR_US 3600000000ULL

static struct lives lives;

/* Reads the wall clock until it has been read so often that it steps. */
static int64_t step(void)
{
    int64_t before = (int64_t)(clock_wall_us() - clock_boot_us());
    int64_t after = before;

    for (int i = 0; i < 100 && llabs(after - before) < (int64_t)HOUR_US / 2; i++)
        after = (int64_t)(clock_wall_us() - clock_boot_us());
    return after - before;
}

static void a_step_of_the_clock_changes_no_sum(void **state)
{
    lives_open(&lives, *state);
    Crownest__Records__SandboxRecord *record = lives_begin(&lives, 1);
    Crownest__V1__Receipt *receipt;
    uint64_t begun = clock_boot_us();

    meter_begin(lives.meter, record->meter, clock_monotonic_ms() + 3600000, lives.arena);
    assert_true(step() > 0);
    timeline_turn(record->meter, CROWNEST__RECORDS__METER_STATE__METER_STATE_PAUSED,
                  meter_now(record->meter), lives.arena);
    assert_true(step() < 0);
    timeline_turn(record->meter, CROWNEST__RECORDS__METER_STATE__METER_STATE_RUNNING,
                  meter_now(record->meter), lives.arena);
    lives_end(&lives, record, meter_now(record->meter));
    uint64_t lived = clock_boot_us() - begun;
    struct status status =
        receipt_get(lives.meter, LIVES_PROJECT, record->sandbox->sandbox_id, lives.arena, &receipt);

    assert_true(status_is_ok(&status));
    assert_int_equal(receipt->n_intervals, 3);
    assert_in_range(receipt->running_usec + receipt->paused_usec, 1, lived);
    assert_true(
        receipt->intervals[2]->end_time->seconds - receipt->intervals[0]->start_time->seconds < 60);
    lives_close(&lives);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORES_TEST(a_step_of_the_clock_changes_no_sum),
    };

    if (setenv("CROWNEST_FAILPOINTS", STEPS, 1) != 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
