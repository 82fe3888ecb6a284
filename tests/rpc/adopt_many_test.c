/*
 * Many sandboxes with a command each, and both daemons killed: all of them are found again, and
 * each exit code is right. How many: CROWNEST_TEST_SANDBOXES, 40 without it. How long the service
 * took to be there again is printed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/rpc/service_fixture.h"
#include "tests/rpc/steps.h"

#define DEFAULT_COUNT 40
#define MAX_COUNT 1000

static struct crownest_error error;
static char ids[MAX_COUNT][STEP_ID_SIZE];
static char commands[MAX_COUNT][STEP_ID_SIZE];

static int wanted(void)
{
    const char *text = getenv("CROWNEST_TEST_SANDBOXES");
    int count = text ? atoi(text) : DEFAULT_COUNT;

    return count < 1 || count > MAX_COUNT ? DEFAULT_COUNT : count;
}

static void create(struct crownest_client *client, char ret_id[STEP_ID_SIZE])
{
    Google__Protobuf__Duration ttl = GOOGLE__PROTOBUF__DURATION__INIT;
    Crownest__V1__Resources resources = CROWNEST__V1__RESOURCES__INIT;
    Crownest__V1__CreateSandboxRequest request = CROWNEST__V1__CREATE_SANDBOX_REQUEST__INIT;
    Crownest__V1__CreateSandboxResponse *response;

    ttl.seconds = 3600;
    resources.memory_bytes = 32 << 20;
    request.ttl = &ttl;
    request.resources = &resources;
    assert_done(crownest_sandbox_create(client, &request, NULL, &response, &error), &error);
    (void)snprintf(ret_id, STEP_ID_SIZE, "%s", response->sandbox->sandbox_id);
    crownest__v1__create_sandbox_response__free_unpacked(response, NULL);
}

static double now_s(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void end_input(struct crownest_client *client, const char *command)
{
    Crownest__V1__WriteStdinRequest request = CROWNEST__V1__WRITE_STDIN_REQUEST__INIT;
    Crownest__V1__WriteStdinResponse *response;

    request.command_id = STEP_TEXT(command);
    request.close = true;
    assert_done(crownest_command_write_stdin(client, &request, NULL, &response, &error), &error);
    crownest__v1__write_stdin_response__free_unpacked(response, NULL);
}

/* Waits for its input to end, and exits with a code of its own. */
static void start(struct crownest_client *client, int i)
{
    char line[64];

    (void)snprintf(line, sizeof(line), "echo %d; cat; exit %d", i, i % 200);
    Crownest__V1__CommandSpec spec = step_shell(ids[i], line);
    Crownest__V1__StartCommandRequest request = CROWNEST__V1__START_COMMAND_REQUEST__INIT;
    Crownest__V1__StartCommandResponse *response;

    spec.keep_stdin = true;
    request.command = &spec;
    assert_done(crownest_command_start(client, &request, NULL, &response, &error), &error);
    (void)snprintf(commands[i], STEP_ID_SIZE, "%s", response->command->command_id);
    crownest__v1__start_command_response__free_unpacked(response, NULL);
}

static void all_are_adopted(void **state)
{
    struct service *service = service_of(state);
    int count = wanted();

    for (int i = 0; i < count; i++) {
        create(service->client, ids[i]);
        start(service->client, i);
    }
    service_crash_sandboxd(service);
    service_crash_crownestd(service);
    double begin = now_s();

    service_come_back(service);
    print_message("%d sandboxes: both daemons serve again after %.2f s\n", count, now_s() - begin);
    for (int i = 0; i < count; i++) {
        struct transcript transcript;
        char said[16];

        end_input(service->client, commands[i]);
        step_read_log(service->client, commands[i], 0, true, &transcript);
        (void)snprintf(said, sizeof(said), "%d\n", i);
        assert_int_equal(transcript.size, strlen(said));
        assert_memory_equal(transcript.bytes, said, strlen(said));
        assert_int_equal(transcript.exited->command->exit_code, i % 200);
        assert_int_equal(transcript.exited->command->exit_cause,
                         CROWNEST__V1__EXIT_CAUSE__EXIT_CAUSE_EXITED);
        transcript_done(&transcript);
    }
    for (int i = 0; i < count; i++)
        step_kill(service->client, ids[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_are_adopted),
        cmocka_unit_test(service_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, service_setup, service_teardown);
}
