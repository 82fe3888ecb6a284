/* What is counted against a plan: all of an amount or none, by one of many at the bound. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/plan/quota.h"
#include "server/store/record.h"
#include "tests/unit/tempdir.h"

#define PROJECT "prj_01h455vb4pex5vsknk084sn02q"
#define THREADS 16
#define TRIES 200

struct world {
    char *directory;
    struct store *store;
    struct quotas *quotas;
};

static void put_project(struct world *world, const char *plan)
{
    Crownest__V1__Project project = CROWNEST__V1__PROJECT__INIT;
    struct schema_key key = schema_key("j", PROJECT, NULL, NULL);
    struct store_batch *batch = store_batch_new();

    project.project_id = (char *)PROJECT;
    project.name = (char *)"tenant";
    project.plan = (char *)(uintptr_t)plan;
    record_put(batch, &key, &project.base);
    assert_int_equal(store_commit(world->store, batch, STORE_SYNCED), 0);
    quotas_renew(world->quotas);
}

static void put_plan(struct world *world, Crownest__V1__Plan *plan)
{
    struct store_batch *batch = store_batch_new();
    struct status status;

    plan->name = (char *)"small";
    status = plans_put(world->store, &plan, 1, batch);
    if (!status_is_ok(&status))
        fail_msg("%s", status.message);
    assert_int_equal(store_commit(world->store, batch, STORE_SYNCED), 0);
    quotas_renew(world->quotas);
}

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof(*world));
    char path[4096];

    world->directory = tempdir_new();
    (void)snprintf(path, sizeof(path), "%s/db", world->directory);
    *state = world;
    if (store_open(path, &world->store, NULL) < 0)
        return -1;
    world->quotas = quotas_new(world->store);
    put_project(world, "small");
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;

    quotas_free(world->quotas);
    store_close(world->store);
    tempdir_free(world->directory);
    free(world);
    return 0;
}

static const struct quota_amounts one = {{[QUOTA_SANDBOXES] = 1, [QUOTA_MEMORY] = 64U << 20}};

static void assert_refusal(const struct status *status, const char *reason, uint64_t limit,
                           uint64_t used)
{
    assert_int_equal(status->code, STATUS_RESOURCE_EXHAUSTED);
    assert_string_equal(status->reason, reason);
    assert_string_equal(status->quota.subject, "project:" PROJECT);
    assert_int_equal(status->quota.limit, limit);
    assert_int_equal(status->quota.used, used);
    assert_non_null(strstr(status->message, "crownest projects update --plan"));
}

static void an_amount_is_taken_whole_or_not_at_all(void **state)
{
    struct world *world = *state;
    Crownest__V1__Plan plan = CROWNEST__V1__PLAN__INIT;

    plan.max_sandboxes = 5;
    plan.max_total_memory_bytes = 128U << 20;
    put_plan(world, &plan);
    struct status first = quota_take(world->quotas, PROJECT, &one);
    struct status second = quota_take(world->quotas, PROJECT, &one);
    struct status third = quota_take(world->quotas, PROJECT, &one);

    assert_true(status_is_ok(&first));
    assert_true(status_is_ok(&second));
    assert_refusal(&third, "QUOTA_TOTAL_MEMORY", 128U << 20, 128U << 20);
    assert_int_equal(quota_left(world->quotas, PROJECT, QUOTA_SANDBOXES), 3);
    quota_give(world->quotas, PROJECT, &one);
    assert_int_equal(quota_left(world->quotas, PROJECT, QUOTA_SANDBOXES), 4);
    assert_int_equal(quota_left(world->quotas, PROJECT, QUOTA_MEMORY), 64U << 20);
    assert_true(quota_left(world->quotas, PROJECT, QUOTA_CPU) == QUOTA_UNBOUNDED);
}

struct racer {
    struct world *world;
    pthread_barrier_t *start;
    unsigned taken;
};

static void *race(void *arg)
{
    struct racer *racer = arg;

    (void)pthread_barrier_wait(racer->start);
    for (unsigned i = 0; i < TRIES; i++) {
        struct status status = quota_take(racer->world->quotas, PROJECT, &one);

        racer->taken += status_is_ok(&status);
        /* Others change what is known of plans meanwhile. */
        if (i % 16 == 0)
            quotas_renew(racer->world->quotas);
    }
    return NULL;
}

static void of_many_at_the_bound_none_gets_through(void **state)
{
    struct world *world = *state;
    Crownest__V1__Plan plan = CROWNEST__V1__PLAN__INIT;
    struct racer racers[THREADS];
    pthread_t threads[THREADS];
    pthread_barrier_t start;
    unsigned taken = 0;

    plan.max_sandboxes = 37;
    put_plan(world, &plan);
    assert_int_equal(pthread_barrier_init(&start, NULL, THREADS), 0);
    for (size_t i = 0; i < THREADS; i++) {
        racers[i] = (struct racer){.world = world, .start = &start};
        assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        taken += racers[i].taken;
    }
    (void)pthread_barrier_destroy(&start);
    assert_int_equal(taken, 37);
    assert_int_equal(quota_left(world->quotas, PROJECT, QUOTA_SANDBOXES), 0);
}

static void what_an_earlier_process_left_counts_and_may_be_too_much(void **state)
{
    struct world *world = *state;
    Crownest__V1__Plan plan = CROWNEST__V1__PLAN__INIT;

    plan.max_sandboxes = 2;
    put_plan(world, &plan);
    for (int i = 0; i < 3; i++)
        quota_add(world->quotas, PROJECT, &one);
    struct status status = quota_take(world->quotas, PROJECT, &one);

    assert_refusal(&status, "QUOTA_SANDBOXES", 2, 3);
    quota_give(world->quotas, PROJECT, &one);
    assert_int_equal(quota_left(world->quotas, PROJECT, QUOTA_SANDBOXES), 0);
    quota_give(world->quotas, PROJECT, &one);
    status = quota_take(world->quotas, PROJECT, &one);
    assert_true(status_is_ok(&status));
}

static void another_plan_holds_from_the_next_time_on(void **state)
{
    struct world *world = *state;
    Crownest__V1__Plan plan = CROWNEST__V1__PLAN__INIT;
    struct plan seen;

    plan.max_sandboxes = 1;
    put_plan(world, &plan);
    assert_int_equal(quota_left(world->quotas, PROJECT, QUOTA_SANDBOXES), 1);
    plan.max_sandboxes = 9;
    put_plan(world, &plan);
    assert_int_equal(quota_left(world->quotas, PROJECT, QUOTA_SANDBOXES), 9);
    put_project(world, "");
    assert_true(quota_left(world->quotas, PROJECT, QUOTA_SANDBOXES) == QUOTA_UNBOUNDED);
    struct status status = quota_plan(world->quotas, PROJECT, &seen);

    assert_true(status_is_ok(&status));
    assert_string_equal(seen.name, "self-hosted");
    assert_true(seen.artifacts && seen.previews && seen.webhooks);
}

static void a_plan_that_cannot_be_read_lets_nothing_through(void **state)
{
    struct world *world = *state;
    struct status status = quota_take(world->quotas, PROJECT, &one);

    assert_int_equal(status.code, STATUS_UNAVAILABLE);
    status = quota_take_call(world->quotas, PROJECT);
    assert_int_equal(status.code, STATUS_UNAVAILABLE);
}

static void a_rate_says_when_to_come_again(void **state)
{
    struct world *world = *state;
    Crownest__V1__Plan plan = CROWNEST__V1__PLAN__INIT;

    plan.creates_per_minute = 2;
    put_plan(world, &plan);
    assert_int_equal(quota_creates_left(world->quotas, PROJECT), 2);
    struct status status = quota_take_create(world->quotas, PROJECT);

    assert_true(status_is_ok(&status));
    status = quota_take_create(world->quotas, PROJECT);
    assert_true(status_is_ok(&status));
    status = quota_take_create(world->quotas, PROJECT);
    assert_refusal(&status, "QUOTA_CREATE_RATE", 2, 2);
    assert_true(status.retryable);
    assert_in_range(status.retry_after_ms, 1, 30000);
    quota_give_create(world->quotas, PROJECT);
    assert_int_equal(quota_creates_left(world->quotas, PROJECT), 1);
}

#define WORLD_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(an_amount_is_taken_whole_or_not_at_all),
        WORLD_TEST(of_many_at_the_bound_none_gets_through),
        WORLD_TEST(what_an_earlier_process_left_counts_and_may_be_too_much),
        WORLD_TEST(another_plan_holds_from_the_next_time_on),
        WORLD_TEST(a_plan_that_cannot_be_read_lets_nothing_through),
        WORLD_TEST(a_rate_says_when_to_come_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
