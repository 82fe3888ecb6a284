/* Usage added up by day, key and sandbox, from rows and from what lives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "server/meter/receipt.h"
#include "server/meter/timeline.h"
#include "server/meter/usage.h"
#include "tests/unit/meter/lives.h"
#include "tests/unit/stores.h"

#define HOUR_MICROS 120000 /* what an hour of the standard runtime costs */

static struct lives lives;

static Crownest__V1__GetUsageResponse *get(Crownest__V1__UsageGroup group, uint32_t from_day,
                                           uint32_t to_day)
{
    struct usage_query query = {.project_id = LIVES_PROJECT,
                                .from_day = from_day,
                                .to_day = to_day,
                                .group_by = group,
                                .key_id = "",
                                .sandbox_id = ""};
    Crownest__V1__GetUsageResponse *response = arena_alloc(lives.arena, sizeof(*response));

    crownest__v1__get_usage_response__init(response);
    struct status status = usage_get(lives.meter, &query, lives.arena, response);

    assert_true(status_is_ok(&status));
    return response;
}

static void a_life_is_cut_at_midnight(void **state)
{
    lives_open(&lives, *state);
    /* From noon to two hours after the midnight behind the next. */
    lives_end(&lives, lives_begin(&lives, 1), 38 * LIVES_HOUR);
    Crownest__V1__GetUsageResponse *usage =
        get(CROWNEST__V1__USAGE_GROUP__USAGE_GROUP_DAY, 20231101, 20231130);

    assert_int_equal(usage->n_groups, 3);
    assert_string_equal(usage->groups[0]->day, "2023-11-15");
    assert_int_equal(usage->groups[0]->running_usec, 12 * LIVES_HOUR);
    assert_int_equal(usage->groups[1]->running_usec, 24 * LIVES_HOUR);
    assert_string_equal(usage->groups[2]->day, "2023-11-17");
    assert_int_equal(usage->groups[2]->running_usec, 2 * LIVES_HOUR);
    assert_int_equal(usage->groups[2]->sandboxes, 1);
    assert_int_equal(usage->total->sandboxes, 1);
    assert_int_equal(usage->total->amount_usd_micros, 38 * HOUR_MICROS);
    usage = get(CROWNEST__V1__USAGE_GROUP__USAGE_GROUP_UNSPECIFIED, 20231116, 20231116);
    assert_int_equal(usage->total->running_usec, 24 * LIVES_HOUR);
    assert_int_equal(usage->total->sandboxes, 1);
    lives_close(&lives);
}

static void what_lives_counts_and_is_counted_once(void **state)
{
    struct metered *metered;

    lives_open(&lives, *state);
    Crownest__Records__SandboxRecord *ended = lives_begin(&lives, 1);
    Crownest__Records__SandboxRecord *living = lives_begin(&lives, 2);

    lives_end(&lives, ended, LIVES_HOUR);
    timeline_turn(living->meter, CROWNEST__RECORDS__METER_STATE__METER_STATE_PAUSED, LIVES_HOUR / 2,
                  lives.arena);
    lives_put(&lives, living);
    metered = meter_adopt(lives.meter, living);
    Crownest__V1__GetUsageResponse *usage =
        get(CROWNEST__V1__USAGE_GROUP__USAGE_GROUP_SANDBOX, 20231101, 20241231);

    assert_int_equal(usage->n_groups, 2);
    assert_int_equal(usage->groups[1]->running_usec, LIVES_HOUR / 2);
    assert_int_equal(usage->total->sandboxes, 2);
    assert_int_equal(usage->total->amount_usd_micros, HOUR_MICROS * 3 / 2);
    /* Its rows are there, and it is still among those that live. */
    lives_end(&lives, living, LIVES_HOUR);
    usage = get(CROWNEST__V1__USAGE_GROUP__USAGE_GROUP_SANDBOX, 20231101, 20241231);
    assert_int_equal(usage->total->running_usec, LIVES_HOUR * 3 / 2);
    meter_forget(metered);
    usage = get(CROWNEST__V1__USAGE_GROUP__USAGE_GROUP_KEY, 20231101, 20241231);
    assert_int_equal(usage->n_groups, 1);
    assert_string_equal(usage->groups[0]->key_id, LIVES_KEY);
    assert_int_equal(usage->total->running_usec, LIVES_HOUR * 3 / 2);
    lives_close(&lives);
}

static void a_receipt_has_the_intervals_and_their_price(void **state)
{
    Crownest__V1__Receipt *receipt;

    lives_open(&lives, *state);
    Crownest__Records__SandboxRecord *record = lives_begin(&lives, 1);

    timeline_turn(record->meter, CROWNEST__RECORDS__METER_STATE__METER_STATE_PAUSED, LIVES_HOUR,
                  lives.arena);
    timeline_turn(record->meter, CROWNEST__RECORDS__METER_STATE__METER_STATE_RUNNING,
                  3 * LIVES_HOUR, lives.arena);
    lives_end(&lives, record, 4 * LIVES_HOUR);
    struct status status =
        receipt_get(lives.meter, LIVES_PROJECT, record->sandbox->sandbox_id, lives.arena, &receipt);

    assert_true(status_is_ok(&status));
    assert_int_equal(receipt->n_intervals, 3);
    assert_true(receipt->intervals[1]->paused);
    assert_int_equal(receipt->intervals[1]->start_time->seconds,
                     receipt->intervals[0]->end_time->seconds);
    assert_int_equal(receipt->paused_usec, 2 * LIVES_HOUR);
    assert_int_equal(receipt->compute_unit_usec, 2 * LIVES_HOUR);
    assert_int_equal(receipt->amount_usd_micros, 2 * HOUR_MICROS);
    assert_true(receipt->final);
    lives_close(&lives);
}

static void the_end_of_a_lost_one_is_in_favour_of_the_user(void **state)
{
    lives_open(&lives, *state);
    Crownest__Records__Meter *part = lives_begin(&lives, 1)->meter;

    /* Nothing is known of that start of the host: it ended where its last interval began. */
    part->boot_id = arena_strdup(lives.arena, "another");
    assert_int_equal(meter_lost(lives.meter, part, false), 0);
    part->asked_us = 70;
    assert_int_equal(meter_lost(lives.meter, part, false), 70);
    assert_int_equal(meter_lost(lives.meter, part, true), 70);
    part->expire_us = 60;
    assert_int_equal(meter_lost(lives.meter, part, true), 60);
    lives_close(&lives);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORES_TEST(a_life_is_cut_at_midnight),
        STORES_TEST(what_lives_counts_and_is_counted_once),
        STORES_TEST(a_receipt_has_the_intervals_and_their_price),
        STORES_TEST(the_end_of_a_lost_one_is_in_favour_of_the_user),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
