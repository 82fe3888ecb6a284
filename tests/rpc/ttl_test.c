/* A sandbox ends when its TTL has passed, with its cause and not much later. */
#include <stdio.h>
#include <time.h>

#include "tests/rpc/host_state.h"
#include "tests/rpc/service_fixture.h"
#include "tests/rpc/steps.h"

#define TTL_S 3
#define LATEST_S 5

static struct crownest_error error;

static double seconds_since(const struct timespec *start)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - start->tv_sec) + 1e-9 * (double)(now.tv_nsec - start->tv_nsec);
}

static double seconds_between(const Google__Protobuf__Timestamp *from,
                              const Google__Protobuf__Timestamp *to)
{
    return (double)(to->seconds - from->seconds) + 1e-9 * (double)(to->nanos - from->nanos);
}

static void create(struct crownest_client *client, char ret_id[STEP_ID_SIZE])
{
    Google__Protobuf__Duration ttl = GOOGLE__PROTOBUF__DURATION__INIT;
    Crownest__V1__CreateSandboxRequest request = CROWNEST__V1__CREATE_SANDBOX_REQUEST__INIT;
    Crownest__V1__CreateSandboxResponse *response;

    ttl.seconds = TTL_S;
    request.ttl = &ttl;
    assert_done(crownest_sandbox_create(client, &request, NULL, &response, &error), &error);
    assert_true(seconds_between(response->sandbox->create_time, response->sandbox->expire_time) ==
                TTL_S);
    (void)snprintf(ret_id, STEP_ID_SIZE, "%s", response->sandbox->sandbox_id);
    crownest__v1__create_sandbox_response__free_unpacked(response, NULL);
}

/* The command's end is the event that is waited for: it ends with its sandbox. */
static void a_sandbox_of_three_seconds_is_gone_before_the_fifth(void **state)
{
    struct crownest_client *client = service_of(state)->client;
    struct timespec start;
    struct transcript transcript;
    char id[STEP_ID_SIZE];

    (void)clock_gettime(CLOCK_MONOTONIC, &start);
    create(client, id);
    step_run_shell(client, id, "echo alive; exec sleep 1000", &transcript);
    assert_int_equal(transcript.exited->command->exit_cause,
                     CROWNEST__V1__EXIT_CAUSE__EXIT_CAUSE_SANDBOX_ENDED);
    assert_int_equal(transcript.size, 6);
    transcript_done(&transcript);
    /* Waits for the kill that is under way, and does not change its cause. */
    step_kill(client, id);
    assert_true(seconds_since(&start) >= TTL_S);
    assert_true(seconds_since(&start) < LATEST_S);
    Crownest__V1__Sandbox *sandbox = step_sandbox(client, id);

    assert_int_equal(sandbox->state, CROWNEST__V1__SANDBOX_STATE__SANDBOX_STATE_KILLED);
    assert_int_equal(sandbox->end_cause, CROWNEST__V1__END_CAUSE__END_CAUSE_TTL);
    assert_true(seconds_between(sandbox->create_time, sandbox->end_time) >= TTL_S);
    assert_true(seconds_between(sandbox->create_time, sandbox->end_time) < LATEST_S);
    assert_int_equal(host_processes_of(id), 0);
    assert_int_equal(host_cgroups_of(id), 0);
    crownest__v1__sandbox__free_unpacked(sandbox, NULL);
}

static void an_expired_sandbox_takes_no_command(void **state)
{
    struct crownest_client *client = service_of(state)->client;
    struct transcript transcript;
    char id[STEP_ID_SIZE];

    create(client, id);
    step_run_shell(client, id, "exec sleep 1000", &transcript);
    transcript_done(&transcript);
    Crownest__V1__CommandSpec command = step_shell(id, "true");
    Crownest__V1__StartCommandRequest request = CROWNEST__V1__START_COMMAND_REQUEST__INIT;
    Crownest__V1__StartCommandResponse *response;

    request.command = &command;
    assert_refused(crownest_command_start(client, &request, NULL, &response, &error), &error, 9,
                   "SANDBOX_NOT_RUNNING", "command.sandbox_id");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sandbox_of_three_seconds_is_gone_before_the_fifth),
        cmocka_unit_test(an_expired_sandbox_takes_no_command),
        cmocka_unit_test(service_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, service_setup, service_teardown);
}
