/* Rows and receipts are compared, and the first that is wrong is named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "server/meter/timeline.h"
#include "server/meter/usage_row.h"
#include "server/meter/verify.h"
#include "server/store/record.h"
#include "tests/unit/meter/lives.h"
#include "tests/unit/stores.h"

#define SANDBOXES 450 /* more than two pages */

static struct lives lives;

/* What all pages say together. */
static Crownest__V1__VerifyUsageResponse verify(void)
{
    Crownest__V1__VerifyUsageResponse sum = CROWNEST__V1__VERIFY_USAGE_RESPONSE__INIT;
    char *token = arena_strdup(lives.arena, "");

    do {
        Crownest__V1__VerifyUsageResponse page = CROWNEST__V1__VERIFY_USAGE_RESPONSE__INIT;
        struct status status = verify_page(lives.meter, LIVES_PROJECT, token, lives.arena, &page);

        assert_true(status_is_ok(&status));
        sum.sandboxes += page.sandboxes;
        sum.rows += page.rows;
        if (!sum.problem[0] && page.problem[0]) {
            sum.problem = page.problem;
            sum.sandbox_id = page.sandbox_id;
            sum.day = page.day;
        }
        token = page.next_page_token;
    } while (token[0]);
    return sum;
}

static void put_row(const char *sandbox_id, uint32_t day, const Crownest__Records__UsageRow *row)
{
    struct store_batch *batch = store_batch_new();
    struct schema_key key = usage_row_key(LIVES_PROJECT, day, sandbox_id);

    if (row)
        record_put(batch, &key, &row->base);
    else
        record_delete(batch, &key);
    assert_int_equal(store_commit(lives.store, batch, STORE_UNSYNCED), 0);
}

static void what_was_metered_agrees_page_by_page(void **state)
{
    lives_open(&lives, *state);
    for (unsigned i = 0; i < SANDBOXES; i++)
        lives_end(&lives, lives_begin(&lives, i), LIVES_HOUR + i);
    lives_put(&lives, lives_begin(&lives, SANDBOXES));
    Crownest__V1__VerifyUsageResponse sum = verify();

    assert_string_equal(sum.problem, "");
    assert_int_equal(sum.sandboxes, SANDBOXES + 1);
    assert_int_equal(sum.rows, 2 * SANDBOXES);
    lives_close(&lives);
}

static void a_row_that_was_changed_is_named(void **state)
{
    Crownest__Records__UsageRow *row;

    lives_open(&lives, *state);
    Crownest__Records__SandboxRecord *record = lives_begin(&lives, 7);
    const char *id = record->sandbox->sandbox_id;
    struct schema_key key = usage_row_key(LIVES_PROJECT, 20231115, id);

    lives_end(&lives, record, LIVES_HOUR);
    assert_int_equal(
        record_get(lives.store, &key, &crownest__records__usage_row__descriptor, lives.arena, &row),
        0);
    row->running_us--;
    put_row(id, 20231115, row);
    Crownest__V1__VerifyUsageResponse sum = verify();

    assert_string_equal(sum.sandbox_id, id);
    assert_string_equal(sum.day, "2023-11-15");
    assert_string_equal(sum.problem, "the day's row is not what the intervals come to");
    put_row(id, 20231115, NULL);
    assert_string_equal(verify().problem, "the day's row is missing");
    lives_close(&lives);
}

static void a_row_of_nothing_is_named(void **state)
{
    Crownest__Records__UsageRow row = CROWNEST__RECORDS__USAGE_ROW__INIT;

    lives_open(&lives, *state);
    Crownest__Records__SandboxRecord *record = lives_begin(&lives, 7);

    lives_end(&lives, record, LIVES_HOUR);
    put_row(record->sandbox->sandbox_id, 20231116, &row);
    Crownest__V1__VerifyUsageResponse sum = verify();

    assert_string_equal(sum.sandbox_id, record->sandbox->sandbox_id);
    assert_string_equal(sum.day, "2023-11-16");
    assert_string_equal(sum.problem, "a row for a day on which it did not live");
    lives_close(&lives);
}

static void an_overlap_is_named(void **state)
{
    lives_open(&lives, *state);
    Crownest__Records__SandboxRecord *record = lives_begin(&lives, 7);

    timeline_turn(record->meter, CROWNEST__RECORDS__METER_STATE__METER_STATE_PAUSED, 100,
                  lives.arena);
    lives_end(&lives, record, LIVES_HOUR);
    record->meter->points[2]->at_us = 99;
    lives_put(&lives, record);
    assert_string_equal(verify().problem, "intervals overlap");
    assert_string_equal(verify().sandbox_id, record->sandbox->sandbox_id);
    lives_close(&lives);
}

static void a_bad_token_is_refused(void **state)
{
    Crownest__V1__VerifyUsageResponse page = CROWNEST__V1__VERIFY_USAGE_RESPONSE__INIT;

    lives_open(&lives, *state);
    struct status status = verify_page(lives.meter, LIVES_PROJECT, "x", lives.arena, &page);

    assert_string_equal(status.reason, "PAGE_TOKEN_INVALID");
    lives_close(&lives);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORES_TEST(what_was_metered_agrees_page_by_page),
        STORES_TEST(a_row_that_was_changed_is_named),
        STORES_TEST(a_row_of_nothing_is_named),
        STORES_TEST(an_overlap_is_named),
        STORES_TEST(a_bad_token_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
