/* A sandbox whose time is up ends, also when sandboxd does not answer at that moment. */
#include <signal.h>
#include <stdio.h>
#include <time.h>

#include "tests/rpc/service_fixture.h"
#include "tests/rpc/steps.h"

#define TTL_S 2
#define AWAY_S 25 /* longer than the TTL and what the service waits for an answer */
#define BACK_S 10

static struct crownest_error error;

static void pause_for(time_t seconds, long nanoseconds)
{
    struct timespec rest = {.tv_sec = seconds, .tv_nsec = nanoseconds};

    while (nanosleep(&rest, &rest) < 0)
        ;
}

static void create(struct crownest_client *client, char ret_id[STEP_ID_SIZE])
{
    Google__Protobuf__Duration ttl = GOOGLE__PROTOBUF__DURATION__INIT;
    Crownest__V1__CreateSandboxRequest request = CROWNEST__V1__CREATE_SANDBOX_REQUEST__INIT;
    Crownest__V1__CreateSandboxResponse *response;

    ttl.seconds = TTL_S;
    request.ttl = &ttl;
    assert_done(crownest_sandbox_create(client, &request, NULL, &response, &error), &error);
    (void)snprintf(ret_id, STEP_ID_SIZE, "%s", response->sandbox->sandbox_id);
    crownest__v1__create_sandbox_response__free_unpacked(response, NULL);
}

/* sandboxd is stopped while the TTL passes, and until the service has given up waiting for it. */
static void a_ttl_is_kept_when_sandboxd_answers_late(void **state)
{
    struct service *service = service_of(state);
    Crownest__V1__SandboxState end = CROWNEST__V1__SANDBOX_STATE__SANDBOX_STATE_RUNNING;
    Crownest__V1__EndCause cause = CROWNEST__V1__END_CAUSE__END_CAUSE_UNSPECIFIED;
    char id[STEP_ID_SIZE];

    create(service->client, id);
    assert_int_equal(kill(service->sandboxd, SIGSTOP), 0);
    pause_for(AWAY_S, 0);
    assert_int_equal(kill(service->sandboxd, SIGCONT), 0);
    for (unsigned i = 0;
         i < BACK_S * 10 && end == CROWNEST__V1__SANDBOX_STATE__SANDBOX_STATE_RUNNING; i++) {
        pause_for(0, 100000000);
        Crownest__V1__Sandbox *sandbox = step_sandbox(service->client, id);

        end = sandbox->state;
        cause = sandbox->end_cause;
        crownest__v1__sandbox__free_unpacked(sandbox, NULL);
    }
    assert_int_equal(end, CROWNEST__V1__SANDBOX_STATE__SANDBOX_STATE_KILLED);
    assert_int_equal(cause, CROWNEST__V1__END_CAUSE__END_CAUSE_TTL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_ttl_is_kept_when_sandboxd_answers_late),
        cmocka_unit_test(service_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, service_setup, service_teardown);
}
