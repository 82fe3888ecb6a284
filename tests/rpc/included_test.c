/* What a plan includes is a bound like a bucket's, also for what an earlier process has begun. */
#include <string.h>
#include <time.h>

#include "tests/rpc/plans.h"
#include "tests/rpc/service_fixture.h"
#include "tests/rpc/steps.h"

#define RESOURCE_EXHAUSTED 8
#define BUDGET CROWNEST__V1__END_CAUSE__END_CAUSE_BUDGET
#define INCLUDED 2 /* compute unit seconds, and one more is asked for in advance */

static struct crownest_error error;

static void use(const struct service *service, uint64_t included, bool overage)
{
    struct test_plan plan;

    test_plan_init(&plan, "small");
    plan.plan.included_unit_seconds = included;
    plan.features.metered_overage = overage;
    test_plan_use(service, &plan);
}

/* Returns when it has ended, with how long it ran in seconds. */
static double await_end(struct crownest_client *client, const char *sandbox_id)
{
    struct timespec moment = {.tv_nsec = 20000000};
    double ran = 0;

    while (ran == 0) {
        Crownest__V1__Sandbox *sandbox = step_sandbox(client, sandbox_id);

        if (sandbox->end_time) {
            assert_int_equal(sandbox->end_cause, BUDGET);
            assert_non_null(strstr(sandbox->end_detail, "small"));
            ran = (double)(sandbox->end_time->seconds - sandbox->start_time->seconds) +
                  (double)(sandbox->end_time->nanos - sandbox->start_time->nanos) / 1e9;
        }
        crownest__v1__sandbox__free_unpacked(sandbox, NULL);
        (void)nanosleep(&moment, NULL);
    }
    return ran;
}

static int try_create(struct crownest_client *client, char ret_id[STEP_ID_SIZE])
{
    return step_try_create(client, "", "base", ret_id, &error);
}

static void what_is_included_ends_sandboxes(void **state)
{
    struct service *service = service_of(state);
    char sandbox[STEP_ID_SIZE];

    use(service, INCLUDED, false);
    assert_done(try_create(service->other, sandbox), &error);
    assert_true(await_end(service->other, sandbox) < INCLUDED + 1);
    assert_refused(try_create(service->other, sandbox), &error, RESOURCE_EXHAUSTED, "BUDGET_EMPTY",
                   "");
    /* The fixture's own project has another plan. */
    step_create(service->client, "base", sandbox);
    step_kill(service->client, sandbox);
}

static void overage_goes_on(void **state)
{
    struct service *service = service_of(state);
    char sandbox[STEP_ID_SIZE];

    use(service, INCLUDED, true);
    assert_done(try_create(service->other, sandbox), &error);
    step_kill(service->other, sandbox);
}

/* What is spent is known again after a restart, and what lives is bound again. */
static void a_restart_forgets_nothing(void **state)
{
    struct service *service = service_of(state);
    char sandbox[STEP_ID_SIZE];

    use(service, 2 * INCLUDED + 1, false);
    assert_done(try_create(service->other, sandbox), &error);
    service_crash_crownestd(service);
    service_come_back(service);
    assert_true(await_end(service->other, sandbox) < INCLUDED + 2);
    service_crash_crownestd(service);
    service_come_back(service);
    assert_refused(try_create(service->other, sandbox), &error, RESOURCE_EXHAUSTED, "BUDGET_EMPTY",
                   "");
}

/* Another plan holds at once, for what lives too. */
static void a_change_of_plan_holds_at_once(void **state)
{
    struct service *service = service_of(state);
    char sandbox[STEP_ID_SIZE];

    use(service, 0, false);
    assert_done(try_create(service->other, sandbox), &error);
    use(service, 1, false);
    (void)await_end(service->other, sandbox);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_included_ends_sandboxes),
        cmocka_unit_test(overage_goes_on),
        cmocka_unit_test(a_restart_forgets_nothing),
        cmocka_unit_test(a_change_of_plan_holds_at_once),
        cmocka_unit_test(service_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, service_setup, service_teardown);
}
