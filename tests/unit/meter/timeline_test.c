/* A sandbox's life as points: what lies between them, without a hole and without an overlap. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/meter/timeline.h"

#define RUNNING CROWNEST__RECORDS__METER_STATE__METER_STATE_RUNNING
#define PAUSED CROWNEST__RECORDS__METER_STATE__METER_STATE_PAUSED
#define ENDED CROWNEST__RECORDS__METER_STATE__METER_STATE_ENDED

#define BOOT_US 5000000

struct life {
    struct arena *arena;
    Crownest__Records__Meter meter;
};

static int setup(void **state)
{
    static struct life life;

    life.arena = arena_new(1 << 20);
    crownest__records__meter__init(&life.meter);
    *state = &life;
    return 0;
}

static int teardown(void **state)
{
    struct life *life = *state;

    arena_free(life->arena);
    return 0;
}

/* Runs from 0, is paused from 100 to 150, and ends at 400. */
static Crownest__Records__Meter *lived(struct life *life)
{
    timeline_begin(&life->meter, 1000000, BOOT_US, "a", life->arena);
    timeline_turn(&life->meter, PAUSED, 100, life->arena);
    timeline_turn(&life->meter, RUNNING, 150, life->arena);
    timeline_turn(&life->meter, ENDED, 400, life->arena);
    return &life->meter;
}

static void assert_sum(const Crownest__Records__Meter *meter, int64_t from_us, int64_t to_us,
                       uint64_t running_us, uint64_t paused_us)
{
    struct timeline_sum sum = timeline_between(meter, from_us, to_us);

    assert_int_equal(sum.running_us, running_us);
    assert_int_equal(sum.paused_us, paused_us);
}

static void all_of_a_life_is_running_or_paused(void **state)
{
    const Crownest__Records__Meter *meter = lived(*state);

    assert_sum(meter, INT64_MIN, INT64_MAX, 350, 50);
    assert_sum(meter, 0, 400, 350, 50);
    assert_null(timeline_fault(meter, true));
    assert_int_equal(timeline_end(meter, 12345), 400);
}

static void windows_that_meet_add_up(void **state)
{
    const Crownest__Records__Meter *meter = lived(*state);

    for (int64_t cut = -10; cut < 420; cut++) {
        struct timeline_sum left = timeline_between(meter, INT64_MIN, cut);
        struct timeline_sum right = timeline_between(meter, cut, INT64_MAX);

        assert_int_equal(left.running_us + right.running_us, 350);
        assert_int_equal(left.paused_us + right.paused_us, 50);
    }
}

static void what_goes_on_reaches_as_far_as_it_is_looked_at(void **state)
{
    struct life *life = *state;

    timeline_begin(&life->meter, 1000000, BOOT_US, "a", life->arena);
    assert_sum(&life->meter, 0, 70, 70, 0);
    assert_sum(&life->meter, 50, 70, 20, 0);
    assert_int_equal(timeline_at(&life->meter, BOOT_US + 70), 70);
    assert_null(timeline_fault(&life->meter, false));
    assert_non_null(timeline_fault(&life->meter, true));
}

static void time_never_goes_back(void **state)
{
    struct life *life = *state;

    timeline_begin(&life->meter, 1000000, BOOT_US, "a", life->arena);
    timeline_turn(&life->meter, PAUSED, 100, life->arena);
    timeline_turn(&life->meter, RUNNING, 40, life->arena);
    assert_int_equal(timeline_at(&life->meter, 0), 100);
    assert_sum(&life->meter, 0, 200, 200, 0);
    assert_null(timeline_fault(&life->meter, false));
}

static void the_same_again_changes_nothing(void **state)
{
    struct life *life = *state;

    timeline_begin(&life->meter, 1000000, BOOT_US, "a", life->arena);
    timeline_turn(&life->meter, RUNNING, 10, life->arena);
    timeline_turn(&life->meter, ENDED, 20, life->arena);
    timeline_turn(&life->meter, ENDED, 30, life->arena);
    timeline_turn(&life->meter, RUNNING, 40, life->arena);
    assert_int_equal(life->meter.n_points, 2);
    assert_sum(&life->meter, 0, 100, 20, 0);
}

static void a_pause_that_did_not_come_to_be_is_taken_back(void **state)
{
    struct life *life = *state;

    timeline_begin(&life->meter, 1000000, BOOT_US, "a", life->arena);
    timeline_take_back(&life->meter, RUNNING);
    timeline_turn(&life->meter, PAUSED, 10, life->arena);
    timeline_take_back(&life->meter, RUNNING);
    assert_int_equal(timeline_state(&life->meter), PAUSED);
    timeline_take_back(&life->meter, PAUSED);
    assert_sum(&life->meter, 0, 100, 100, 0);
}

static void what_never_ran_has_used_nothing(void **state)
{
    struct life *life = *state;

    timeline_turn(&life->meter, ENDED, 10, life->arena);
    assert_int_equal(life->meter.n_points, 0);
    assert_sum(&life->meter, INT64_MIN, INT64_MAX, 0, 0);
    assert_int_equal(timeline_at(&life->meter, BOOT_US), 0);
    assert_null(timeline_fault(&life->meter, true));
}

static void points_that_were_tampered_with_are_named(void **state)
{
    Crownest__Records__Meter *meter = lived(*state);

    meter->points[2]->at_us = 50;
    assert_string_equal(timeline_fault(meter, true), "intervals overlap");
    meter->points[2]->at_us = 150;
    meter->points[0]->at_us = 1;
    assert_string_equal(timeline_fault(meter, true), "a hole at the beginning");
    meter->points[0]->at_us = 0;
    meter->points[1]->state = RUNNING;
    assert_non_null(timeline_fault(meter, true));
    meter->points[1]->state = PAUSED;
    assert_null(timeline_fault(meter, true));
    meter->n_points--;
    assert_non_null(timeline_fault(meter, true));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(all_of_a_life_is_running_or_paused),
        TEST(windows_that_meet_add_up),
        TEST(what_goes_on_reaches_as_far_as_it_is_looked_at),
        TEST(time_never_goes_back),
        TEST(the_same_again_changes_nothing),
        TEST(a_pause_that_did_not_come_to_be_is_taken_back),
        TEST(what_never_ran_has_used_nothing),
        TEST(points_that_were_tampered_with_are_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
