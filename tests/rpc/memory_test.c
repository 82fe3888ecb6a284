/* A command that takes more memory than there is ends for want of it, and only that one is blamed.
 */
#include <signal.h>
#include <stdio.h>

#include "tests/rpc/leftovers.h"
#include "tests/rpc/service_fixture.h"
#include "tests/rpc/steps.h"

#define MEMORY_BYTES (64ULL << 20)

/* tail keeps the whole of a line that does not end. */
#define GREEDY "tail /dev/zero"

static void create_small(struct crownest_client *client, char ret_id[STEP_ID_SIZE])
{
    Crownest__V1__CreateSandboxRequest request = CROWNEST__V1__CREATE_SANDBOX_REQUEST__INIT;
    Crownest__V1__Resources resources = CROWNEST__V1__RESOURCES__INIT;
    Crownest__V1__CreateSandboxResponse *response;
    struct crownest_error error;

    resources.memory_bytes = MEMORY_BYTES;
    request.resources = &resources;
    assert_done(crownest_sandbox_create(client, &request, NULL, &response, &error), &error);
    (void)snprintf(ret_id, STEP_ID_SIZE, "%s", response->sandbox->sandbox_id);
    crownest__v1__create_sandbox_response__free_unpacked(response, NULL);
}

static void assert_ends(struct crownest_client *client, const char *id, const char *line,
                        Crownest__V1__ExitCause cause, int signal, int code)
{
    struct transcript transcript;

    step_run_shell(client, id, line, &transcript);
    assert_int_equal(transcript.exited->command->exit_cause, cause);
    assert_int_equal(transcript.exited->command->signal, signal);
    assert_int_equal(transcript.exited->command->exit_code, code);
    transcript_done(&transcript);
}

static void want_of_memory_is_the_cause_of_the_command_that_wanted_it(void **state)
{
    struct crownest_client *client = service_of(state)->client;
    char id[STEP_ID_SIZE];

    create_small(client, id);
    assert_ends(client, id, "exec " GREEDY, CROWNEST__V1__EXIT_CAUSE__EXIT_CAUSE_OUT_OF_MEMORY,
                SIGKILL, 0);
    /* The sandbox lives on, and a plain kill is a plain kill. */
    assert_ends(client, id, "kill -9 $$", CROWNEST__V1__EXIT_CAUSE__EXIT_CAUSE_SIGNALED, SIGKILL,
                0);
    step_kill(client, id);
}

static void a_child_that_wanted_too_much_is_not_held_against_a_later_command(void **state)
{
    struct crownest_client *client = service_of(state)->client;
    char id[STEP_ID_SIZE];

    create_small(client, id);
    assert_ends(client, id, GREEDY "; exit $?", CROWNEST__V1__EXIT_CAUSE__EXIT_CAUSE_EXITED, 0,
                128 + SIGKILL);
    assert_ends(client, id, "kill -9 $$", CROWNEST__V1__EXIT_CAUSE__EXIT_CAUSE_SIGNALED, SIGKILL,
                0);
    step_kill(client, id);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(want_of_memory_is_the_cause_of_the_command_that_wanted_it),
        cmocka_unit_test(a_child_that_wanted_too_much_is_not_held_against_a_later_command),
        cmocka_unit_test(service_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, service_setup, service_teardown);
}
