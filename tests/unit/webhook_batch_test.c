/* What one delivery holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/util/limits.h"
#include "server/webhook/batch.h"
#include "tests/unit/audits.h"

static const struct audit_filter everything = {.project_id = "", .actor = "", .resource_id = ""};

static struct batch read_batch(struct audits *audits, const struct audit_filter *filter,
                               uint64_t after, uint64_t upto)
{
    struct batch batch = {0};

    assert_int_equal(batch_read(audits->store, filter, "whk_1", after, upto, &batch), 0);
    return batch;
}

static void change(struct audits *audits, unsigned count)
{
    while (count-- > 0)
        assert_int_equal(audits_change(audits, "sbx_1", "key_1"), 0);
}

static void a_body_is_lines_of_an_export(void **state)
{
    struct audits *audits = *state;
    struct buf lines = {0};
    struct buf expected = {0};

    change(audits, 2);
    audits_export(audits, &lines);
    char *newline = memchr(lines.data, '\n', lines.size);

    assert_non_null(newline);
    *newline = ',';
    buf_append(&expected, "{\"webhook_id\":\"whk_1\",\"entries\":[", 33);
    buf_append(&expected, lines.data, lines.size - 1);
    buf_append(&expected, "]}", 2);
    struct batch batch = read_batch(audits, &everything, 0, 0);

    assert_int_equal(batch.count, 2);
    assert_int_equal(batch.first, 1);
    assert_int_equal(batch.last, 2);
    assert_int_equal(batch.body.size, expected.size);
    assert_memory_equal(batch.body.data, expected.data, expected.size);
    batch_done(&batch);
    buf_done(&expected);
    buf_done(&lines);
}

static void many_are_several_deliveries(void **state)
{
    struct audits *audits = *state;
    unsigned total = 0;
    uint64_t after = 0;
    struct batch batch;

    change(audits, 2 * LIMIT_WEBHOOK_ENTRIES + 1);
    do {
        batch = read_batch(audits, &everything, after, 0);
        if (batch.count > 0)
            assert_int_equal(batch.first, after + 1);
        assert_true(batch.count <= LIMIT_WEBHOOK_ENTRIES);
        assert_true(batch.body.size <= LIMIT_WEBHOOK_BODY);
        total += batch.count;
        after = batch.last;
        batch_done(&batch);
    } while (batch.count > 0);
    assert_int_equal(total, 2 * LIMIT_WEBHOOK_ENTRIES + 1);
}

static void one_that_is_made_again_is_the_same(void **state)
{
    struct audits *audits = *state;

    change(audits, 3);
    struct batch one = read_batch(audits, &everything, 0, 0);

    change(audits, 3);
    struct batch again = read_batch(audits, &everything, 0, one.last);

    assert_int_equal(again.body.size, one.body.size);
    assert_memory_equal(again.body.data, one.body.data, one.body.size);
    batch_done(&one);
    batch_done(&again);
}

static void what_does_not_fit_is_passed_over(void **state)
{
    struct audits *audits = *state;
    struct audit_filter filter = {.project_id = "prj_1",
                                  .actor = "",
                                  .resource_id = "",
                                  .actions = {"command", "sandbox.create"},
                                  .action_count = 2};

    /* Few enough that no checkpoint comes between. */
    change(audits, 900);
    struct batch batch = read_batch(audits, &filter, 0, 0);

    assert_int_equal(batch.count, 0);
    assert_int_equal(batch.looked, 900);
    batch_done(&batch);
    filter.actions[1] = "sandbox";
    batch = read_batch(audits, &filter, 890, 0);
    assert_int_equal(batch.count, 10);
    assert_int_equal(batch.first, 891);
    batch_done(&batch);
    filter.project_id = "prj_2";
    batch = read_batch(audits, &filter, 0, 0);
    assert_int_equal(batch.count, 0);
    assert_int_equal(batch.looked, 900);
    batch_done(&batch);
}

/* A look ends somewhere, and the next one goes on from there. */
static void a_look_is_bounded(void **state)
{
    struct audits *audits = *state;
    struct audit_filter filter = {.project_id = "",
                                  .actor = "",
                                  .resource_id = "",
                                  .actions = {"command"},
                                  .action_count = 1};
    uint64_t after = 0;
    unsigned looks = 0;

    change(audits, 6000);
    while (after < 6000) {
        struct batch batch = read_batch(audits, &filter, after, 0);

        assert_int_equal(batch.count, 0);
        assert_true(batch.looked > after);
        after = batch.looked;
        batch_done(&batch);
        looks++;
    }
    assert_true(looks > 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        AUDITS_TEST(a_body_is_lines_of_an_export),
        AUDITS_TEST(many_are_several_deliveries),
        AUDITS_TEST(one_that_is_made_again_is_the_same),
        AUDITS_TEST(what_does_not_fit_is_passed_over),
        AUDITS_TEST(a_look_is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
