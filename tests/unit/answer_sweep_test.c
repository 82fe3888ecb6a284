/* Answers that have expired are removed, and no others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/policy/answer.h"
#include "server/policy/answer_private.h"
#include "server/store/record.h"
#include "server/util/clock.h"
#include "server/util/limits.h"
#include "tests/unit/tempdir.h"

#define PROJECT "prj_one"

struct fixture {
    char *directory;
    struct store *store;
    struct answers *answers;
};

static void keep(struct fixture *fixture, const char *project_id, const char *request_id)
{
    struct answer answer = {.owner = fixture->answers, .method = "/method"};
    struct store_batch *batch = store_batch_new();

    (void)snprintf(answer.project_id, sizeof(answer.project_id), "%s", project_id);
    (void)snprintf(answer.request_id, sizeof(answer.request_id), "%s", request_id);
    answer_keep_id(&answer, batch, "sbx_x");
    assert_int_equal(store_commit(fixture->store, batch, STORE_SYNCED), 0);
}

static bool is_kept(struct fixture *fixture, const char *project_id, const char *request_id)
{
    struct schema_key key = schema_key("r", project_id, request_id, NULL);
    cleanup_buf struct buf buf = {0};

    return store_get(fixture->store, schema_bytes(&key), &buf) == 0;
}

static bool count_one(void *arg, struct bytes key, struct bytes value)
{
    (void)key;
    (void)value;
    (*(unsigned *)arg)++;
    return true;
}

/* Of answers and of their index. */
static unsigned count(struct fixture *fixture)
{
    unsigned found = 0;

    assert_int_equal(store_scan(fixture->store, bytes_of_string("r"), bytes_of(NULL, 0),
                                STORE_ASCENDING, count_one, &found),
                     0);
    return found;
}

static uint64_t when_expired(void)
{
    return clock_wall_ms() + LIMIT_ANSWER_KEPT_MS + 1000;
}

static void expired_ones_go_with_their_index(void **state)
{
    struct fixture *fixture = *state;

    keep(fixture, PROJECT, "one");
    keep(fixture, PROJECT, "two-_2");
    keep(fixture, "prj_other", "one");
    assert_int_equal(count(fixture), 6);
    assert_int_equal(answers_sweep(fixture->answers, when_expired()), 3);
    assert_int_equal(count(fixture), 0);
    assert_int_equal(answers_sweep(fixture->answers, when_expired()), 0);
}

static void what_has_not_expired_stays(void **state)
{
    struct fixture *fixture = *state;

    keep(fixture, PROJECT, "one");
    assert_int_equal(answers_sweep(fixture->answers, clock_wall_ms() + LIMIT_ANSWER_KEPT_MS - 5000),
                     0);
    assert_true(is_kept(fixture, PROJECT, "one"));
}

static void one_sweep_is_bounded(void **state)
{
    struct fixture *fixture = *state;
    char id[32];

    for (int i = 0; i < ANSWERS_SWEPT_AT_ONCE + 10; i++) {
        (void)snprintf(id, sizeof(id), "id%d", i);
        keep(fixture, PROJECT, id);
    }
    assert_int_equal(answers_sweep(fixture->answers, when_expired()), ANSWERS_SWEPT_AT_ONCE);
    assert_int_equal(count(fixture), 2 * 10);
    assert_int_equal(answers_sweep(fixture->answers, when_expired()), 10);
    assert_int_equal(count(fixture), 0);
}

/* The index may name it twice: of the times when it was kept the last one counts. */
static void one_that_was_kept_again_stays(void **state)
{
    struct fixture *fixture = *state;
    struct answer answer = {.project_id = PROJECT, .request_id = "one"};
    struct schema_key old = answer_time_key(&answer, 1000);
    struct store_batch *batch = store_batch_new();

    record_put_string(batch, &old, "");
    assert_int_equal(store_commit(fixture->store, batch, STORE_SYNCED), 0);
    keep(fixture, PROJECT, "one");
    assert_int_equal(count(fixture), 3);
    assert_int_equal(answers_sweep(fixture->answers, clock_wall_ms()), 1);
    assert_true(is_kept(fixture, PROJECT, "one"));
    assert_int_equal(count(fixture), 2);
}

static void one_that_is_under_way_is_left_alone(void **state)
{
    struct fixture *fixture = *state;
    struct answer retry = {.owner = fixture->answers, .project_id = PROJECT, .request_id = "one"};

    keep(fixture, PROJECT, "one");
    keep(fixture, PROJECT, "two");
    assert_true(answer_try_enter(fixture->answers, &retry));
    assert_int_equal(answers_sweep(fixture->answers, when_expired()), 2);
    assert_true(is_kept(fixture, PROJECT, "one"));
    assert_false(is_kept(fixture, PROJECT, "two"));
    answer_end(&retry);
    assert_int_equal(answers_sweep(fixture->answers, when_expired()), 1);
    assert_int_equal(count(fixture), 0);
    /* And nobody is kept out by what was swept. */
    assert_true(answer_try_enter(fixture->answers, &retry));
    answer_end(&retry);
}

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    struct err err;

    if (!fixture)
        return -1;
    fixture->directory = tempdir_new();
    if (store_open(fixture->directory, &fixture->store, &err) < 0)
        return -1;
    fixture->answers = answers_new(&(struct admission){.store = fixture->store});
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    answers_free(fixture->answers);
    store_close(fixture->store);
    tempdir_free(fixture->directory);
    free(fixture);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(expired_ones_go_with_their_index),
        TEST(what_has_not_expired_stays),
        TEST(one_sweep_is_bounded),
        TEST(one_that_was_kept_again_stays),
        TEST(one_that_is_under_way_is_left_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
