/*
 * Sandboxes and commands depend on no process of ours: whatever is killed, they go on, and whoever
 * comes back finds each of them, with no byte of output lost and none twice.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tests/rpc/host_state.h"
#include "tests/rpc/service_fixture.h"
#include "tests/rpc/steps.h"

#define COUNTING "i=0; while [ $i -lt 400 ]; do i=$((i+1)); echo $i; sleep 0.005; done; exit 7"

static struct crownest_error error;

static void assert_counted(struct crownest_client *client, const char *command_id)
{
    struct transcript transcript;
    char expected[4096] = "";
    size_t length = 0;

    for (int i = 1; i <= 400; i++)
        length += (size_t)snprintf(expected + length, sizeof(expected) - length, "%d\n", i);
    step_read_log(client, command_id, 0, true, &transcript);
    char *text = transcript_text(&transcript, CROWNEST__V1__LOG_STREAM__LOG_STREAM_STDOUT);

    assert_string_equal(text, expected);
    assert_int_equal(transcript.exited->command->exit_cause,
                     CROWNEST__V1__EXIT_CAUSE__EXIT_CAUSE_EXITED);
    assert_int_equal(transcript.exited->command->exit_code, 7);
    free(text);
    transcript_done(&transcript);
}

static void a_command_goes_on_when_the_server_is_killed(void **state)
{
    struct service *service = service_of(state);
    char id[STEP_ID_SIZE];
    char command[STEP_ID_SIZE];

    step_create(service->client, "base", id);
    step_start(service->client, id, COUNTING, command);
    for (uint64_t bytes = 100; bytes <= 700; bytes += 300) {
        step_await_output(service->client, command, bytes);
        service_crash_crownestd(service);
        service_come_back(service);
    }
    assert_counted(service->client, command);
    step_do(service->client, id, "true");
    step_kill(service->client, id);
}

static void a_command_goes_on_when_sandboxd_is_killed(void **state)
{
    struct service *service = service_of(state);
    char id[STEP_ID_SIZE];
    char another[STEP_ID_SIZE];
    char command[STEP_ID_SIZE];

    step_create(service->client, "base", id);
    step_start(service->client, id, COUNTING, command);
    step_await_output(service->client, command, 100);
    service_crash_sandboxd(service);
    /* Without it, what runs runs. */
    step_do(service->client, id, "true");
    service_come_back(service);
    step_create(service->client, "base", another);
    assert_counted(service->client, command);
    step_kill(service->client, another);
    step_kill(service->client, id);
}

static void a_command_goes_on_when_both_are_killed(void **state)
{
    struct service *service = service_of(state);
    char id[STEP_ID_SIZE];
    char command[STEP_ID_SIZE];

    step_create(service->client, "base", id);
    step_start(service->client, id, COUNTING, command);
    step_await_output(service->client, command, 100);
    service_crash_sandboxd(service);
    service_crash_crownestd(service);
    service_come_back(service);
    assert_counted(service->client, command);
    step_kill(service->client, id);
}

/* More than a pipe holds is written while nobody reads, and the end comes then, too. */
static void what_ends_while_nobody_is_there_is_told_afterwards(void **state)
{
    struct service *service = service_of(state);
    struct timespec rest = {.tv_nsec = 500000000};
    struct transcript transcript;
    char id[STEP_ID_SIZE];
    char command[STEP_ID_SIZE];
    char other[STEP_ID_SIZE];

    step_create(service->client, "base", id);
    step_start(service->client, id, "sleep 0.2; head -c 40000 /dev/zero; exit 9", command);
    step_start(service->client, id, "sleep 0.2; head -c 400000 /dev/zero; kill -TERM $$", other);
    service_crash_crownestd(service);
    (void)nanosleep(&rest, NULL);
    service_come_back(service);
    step_read_log(service->client, command, 0, true, &transcript);
    assert_int_equal(transcript.size, 40000);
    assert_int_equal(transcript.exited->command->exit_code, 9);
    transcript_done(&transcript);
    step_read_log(service->client, other, 0, true, &transcript);
    assert_int_equal(transcript.size, 400000);
    assert_int_equal(transcript.exited->command->signal, SIGTERM);
    transcript_done(&transcript);
    step_kill(service->client, id);
}

/* As one to which a full disk did not let it be written. */
static void take_end(const struct service *service, const char *command_id)
{
    char path[SERVICE_PATH_SIZE];
    struct stat log;

    (void)snprintf(path, sizeof(path), "%s/server/data/logs/%s/%s.log", service->dir,
                   command_id + strlen(command_id) - 2, command_id);
    assert_int_equal(stat(path, &log), 0);
    assert_int_equal(truncate(path, log.st_size - 1), 0);
}

static void a_log_without_its_end_is_not_waited_for(void **state)
{
    struct service *service = service_of(state);
    struct transcript transcript;
    char id[STEP_ID_SIZE];
    char command[STEP_ID_SIZE];

    step_create(service->client, "base", id);
    step_start(service->client, id, "echo all; exit 3", command);
    step_read_log(service->client, command, 0, true, &transcript);
    transcript_done(&transcript);
    service_crash_crownestd(service);
    take_end(service, command);
    service_come_back(service);
    step_read_log(service->client, command, 0, true, &transcript);
    assert_int_equal(transcript.size, 4);
    assert_int_equal(transcript.exited->command->exit_code, 3);
    transcript_done(&transcript);
    step_kill(service->client, id);
}

static void a_ttl_that_passes_meanwhile_is_kept(void **state)
{
    struct service *service = service_of(state);
    Google__Protobuf__Duration ttl = GOOGLE__PROTOBUF__DURATION__INIT;
    Crownest__V1__CreateSandboxRequest request = CROWNEST__V1__CREATE_SANDBOX_REQUEST__INIT;
    Crownest__V1__CreateSandboxResponse *response;
    struct timespec rest = {.tv_sec = 1, .tv_nsec = 200000000};
    char command[STEP_ID_SIZE];

    ttl.seconds = 1;
    request.ttl = &ttl;
    assert_done(crownest_sandbox_create(service->client, &request, NULL, &response, &error),
                &error);
    step_start(service->client, response->sandbox->sandbox_id, "sleep 1000", command);
    service_crash_crownestd(service);
    (void)nanosleep(&rest, NULL);
    service_come_back(service);
    Crownest__V1__Sandbox *sandbox = step_sandbox(service->client, response->sandbox->sandbox_id);
    Crownest__V1__Command *record = step_command(service->client, command);

    assert_int_equal(sandbox->end_cause, CROWNEST__V1__END_CAUSE__END_CAUSE_TTL);
    assert_int_equal(record->exit_cause, CROWNEST__V1__EXIT_CAUSE__EXIT_CAUSE_SANDBOX_ENDED);
    assert_int_equal(host_cgroups_of(sandbox->sandbox_id), 0);
    crownest__v1__command__free_unpacked(record, NULL);
    crownest__v1__sandbox__free_unpacked(sandbox, NULL);
    crownest__v1__create_sandbox_response__free_unpacked(response, NULL);
}

/* Asked for while sandboxd does not listen, and given up. */
static void kill_in_vain(const struct service *service, const char *id)
{
    Crownest__V1__KillSandboxRequest request = CROWNEST__V1__KILL_SANDBOX_REQUEST__INIT;
    Crownest__V1__KillSandboxResponse *response;
    const struct crownest_call_options options = {.deadline_ms = 1000};

    request.sandbox_id = STEP_TEXT(id);
    assert_true(crownest_sandbox_kill(service->client, &request, &options, &response, &error) < 0);
}

static void an_end_that_was_begun_is_brought_to_its_end(void **state)
{
    struct service *service = service_of(state);
    char id[STEP_ID_SIZE];

    step_create(service->client, "base", id);
    assert_int_equal(kill(service->sandboxd, SIGSTOP), 0);
    kill_in_vain(service, id);
    service_crash_crownestd(service);
    assert_int_equal(kill(service->sandboxd, SIGCONT), 0);
    service_come_back(service);
    Crownest__V1__Sandbox *sandbox = step_sandbox(service->client, id);

    assert_int_equal(sandbox->end_cause, CROWNEST__V1__END_CAUSE__END_CAUSE_KILLED);
    crownest__v1__sandbox__free_unpacked(sandbox, NULL);
}

static void a_start_that_fails_ends_nothing(void **state)
{
    struct service *service = service_of(state);
    char id[STEP_ID_SIZE];

    step_create(service->client, "base", id);
    service_crash_crownestd(service);
    service_fail_to_come_back(service);
    service_come_back(service);
    step_do(service->client, id, "true");
    step_kill(service->client, id);
}

static void pause_sandbox(struct crownest_client *client, const char *id)
{
    Crownest__V1__PauseSandboxRequest request = CROWNEST__V1__PAUSE_SANDBOX_REQUEST__INIT;
    Crownest__V1__PauseSandboxResponse *response;

    request.sandbox_id = STEP_TEXT(id);
    assert_done(crownest_sandbox_pause(client, &request, NULL, &response, &error), &error);
    assert_int_equal(response->sandbox->state, CROWNEST__V1__SANDBOX_STATE__SANDBOX_STATE_PAUSED);
    crownest__v1__pause_sandbox_response__free_unpacked(response, NULL);
}

static void resume_sandbox(struct crownest_client *client, const char *id)
{
    Crownest__V1__ResumeSandboxRequest request = CROWNEST__V1__RESUME_SANDBOX_REQUEST__INIT;
    Crownest__V1__ResumeSandboxResponse *response;

    request.sandbox_id = STEP_TEXT(id);
    assert_done(crownest_sandbox_resume(client, &request, NULL, &response, &error), &error);
    assert_int_equal(response->sandbox->state, CROWNEST__V1__SANDBOX_STATE__SANDBOX_STATE_RUNNING);
    crownest__v1__resume_sandbox_response__free_unpacked(response, NULL);
}

static void what_was_paused_stays_paused(void **state)
{
    struct service *service = service_of(state);
    char id[STEP_ID_SIZE];
    char doomed[STEP_ID_SIZE];
    char command[STEP_ID_SIZE];
    char other[STEP_ID_SIZE];

    step_create(service->client, "base", id);
    step_create(service->client, "base", doomed);
    step_start(service->client, id, COUNTING, command);
    step_start(service->client, doomed, "sleep 1000", other);
    step_await_output(service->client, command, 100);
    pause_sandbox(service->client, id);
    pause_sandbox(service->client, doomed);
    service_crash_sandboxd(service);
    service_crash_crownestd(service);
    service_come_back(service);
    Crownest__V1__Sandbox *sandbox = step_sandbox(service->client, id);

    assert_int_equal(sandbox->state, CROWNEST__V1__SANDBOX_STATE__SANDBOX_STATE_PAUSED);
    crownest__v1__sandbox__free_unpacked(sandbox, NULL);
    resume_sandbox(service->client, id);
    assert_counted(service->client, command);
    step_kill(service->client, id);
    /* One that is killed where it stands. */
    step_kill(service->client, doomed);
    Crownest__V1__Command *record = step_command(service->client, other);

    assert_int_equal(record->exit_cause, CROWNEST__V1__EXIT_CAUSE__EXIT_CAUSE_SANDBOX_ENDED);
    crownest__v1__command__free_unpacked(record, NULL);
}

/* Each new server reaches for a nest-init that cannot take its hand. */
static void a_pause_outlasts_many_servers(void **state)
{
    struct service *service = service_of(state);
    char id[STEP_ID_SIZE];

    step_create(service->client, "base", id);
    pause_sandbox(service->client, id);
    for (int i = 0; i < 12; i++) {
        service_crash_crownestd(service);
        service_come_back(service);
    }
    Crownest__V1__Sandbox *sandbox = step_sandbox(service->client, id);

    assert_int_equal(sandbox->state, CROWNEST__V1__SANDBOX_STATE__SANDBOX_STATE_PAUSED);
    crownest__v1__sandbox__free_unpacked(sandbox, NULL);
    resume_sandbox(service->client, id);
    step_do(service->client, id, "true");
    step_kill(service->client, id);
}

static uint64_t write_input(struct crownest_client *client, const char *command, uint64_t offset,
                            const char *text, bool close)
{
    Crownest__V1__WriteStdinRequest request = CROWNEST__V1__WRITE_STDIN_REQUEST__INIT;
    Crownest__V1__WriteStdinResponse *response;

    request.command_id = STEP_TEXT(command);
    request.offset = offset;
    request.data = (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)text, .len = strlen(text)};
    request.close = close;
    assert_done(crownest_command_write_stdin(client, &request, NULL, &response, &error), &error);
    uint64_t taken = response->offset;

    crownest__v1__write_stdin_response__free_unpacked(response, NULL);
    return taken;
}

static void input_counts_once_across_a_crash(void **state)
{
    struct service *service = service_of(state);
    struct transcript transcript;
    char id[STEP_ID_SIZE];

    step_create(service->client, "base", id);
    Crownest__V1__CommandSpec spec = step_shell(id, "cat");
    Crownest__V1__StartCommandRequest request = CROWNEST__V1__START_COMMAND_REQUEST__INIT;
    Crownest__V1__StartCommandResponse *response;

    spec.keep_stdin = true;
    request.command = &spec;
    assert_done(crownest_command_start(service->client, &request, NULL, &response, &error), &error);
    const char *command = response->command->command_id;

    assert_int_equal(write_input(service->client, command, 0, "one\n", false), 4);
    service_crash_crownestd(service);
    service_come_back(service);
    assert_int_equal(write_input(service->client, command, 0, "one\n", false), 4);
    assert_int_equal(write_input(service->client, command, 4, "two\n", true), 8);
    step_read_log(service->client, command, 0, true, &transcript);
    assert_int_equal(transcript.size, 8);
    assert_memory_equal(transcript.bytes, "one\ntwo\n", 8);
    assert_int_equal(transcript.exited->command->exit_code, 0);
    transcript_done(&transcript);
    crownest__v1__start_command_response__free_unpacked(response, NULL);
    step_kill(service->client, id);
}

/* What is stopped and started again, as for an upgrade, is no different. */
static void timeouts_and_cancels_hold_afterwards(void **state)
{
    struct service *service = service_of(state);
    Google__Protobuf__Duration timeout = GOOGLE__PROTOBUF__DURATION__INIT;
    Crownest__V1__CancelCommandRequest cancel = CROWNEST__V1__CANCEL_COMMAND_REQUEST__INIT;
    Crownest__V1__CancelCommandResponse *cancelled;
    struct transcript transcript;
    char id[STEP_ID_SIZE];
    char endless[STEP_ID_SIZE];

    step_create(service->client, "base", id);
    step_start(service->client, id, "sleep 1000", endless);
    Crownest__V1__CommandSpec spec = step_shell(id, "sleep 1000");
    Crownest__V1__StartCommandRequest request = CROWNEST__V1__START_COMMAND_REQUEST__INIT;
    Crownest__V1__StartCommandResponse *response;

    timeout.seconds = 1;
    spec.timeout = &timeout;
    request.command = &spec;
    assert_done(crownest_command_start(service->client, &request, NULL, &response, &error), &error);
    service_crash_crownestd(service);
    service_come_back(service);
    step_read_log(service->client, response->command->command_id, 0, true, &transcript);
    assert_int_equal(transcript.exited->command->exit_cause,
                     CROWNEST__V1__EXIT_CAUSE__EXIT_CAUSE_TIMEOUT);
    transcript_done(&transcript);
    cancel.command_id = endless;
    assert_done(crownest_command_cancel(service->client, &cancel, NULL, &cancelled, &error),
                &error);
    assert_int_equal(cancelled->command->exit_cause,
                     CROWNEST__V1__EXIT_CAUSE__EXIT_CAUSE_CANCELLED);
    crownest__v1__cancel_command_response__free_unpacked(cancelled, NULL);
    crownest__v1__start_command_response__free_unpacked(response, NULL);
    step_kill(service->client, id);
}

/* Three at once, so that what is ready for others is not taken for somebody's. */
static void ready_jails_of_a_dead_server_are_removed(void **state)
{
    struct service *service = service_of(state);
    char ids[3][STEP_ID_SIZE];

    for (int i = 0; i < 3; i++)
        step_create(service->client, "base", ids[i]);
    service_crash_crownestd(service);
    service_come_back(service);
    for (int i = 0; i < 3; i++) {
        step_do(service->client, ids[i], "true");
        step_kill(service->client, ids[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_command_goes_on_when_the_server_is_killed),
        cmocka_unit_test(a_command_goes_on_when_sandboxd_is_killed),
        cmocka_unit_test(a_command_goes_on_when_both_are_killed),
        cmocka_unit_test(what_ends_while_nobody_is_there_is_told_afterwards),
        cmocka_unit_test(a_log_without_its_end_is_not_waited_for),
        cmocka_unit_test(a_ttl_that_passes_meanwhile_is_kept),
        cmocka_unit_test(an_end_that_was_begun_is_brought_to_its_end),
        cmocka_unit_test(a_start_that_fails_ends_nothing),
        cmocka_unit_test(what_was_paused_stays_paused),
        cmocka_unit_test(a_pause_outlasts_many_servers),
        cmocka_unit_test(input_counts_once_across_a_crash),
        cmocka_unit_test(timeouts_and_cancels_hold_afterwards),
        cmocka_unit_test(ready_jails_of_a_dead_server_are_removed),
        cmocka_unit_test(service_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, service_setup, service_teardown);
}
