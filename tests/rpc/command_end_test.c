/* How a command ends: cancelled with all that it spawned, timed out, by itself, by a signal. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/rpc/host_state.h"
#include "tests/rpc/service_fixture.h"
#include "tests/rpc/steps.h"

#define SETTLE_MS 10000

static struct crownest_error error;

/*
 * A child in a session of its own and a daemon whose parents are gone; `ready` when all exist.
 * argv[0] of each process holds the mark, so they can be looked for among all of the host. */
static void family_line(const char *mark, char line[1024])
{
    (void)snprintf(line, 1024,
                   "python3 - <<'END'\n"
                   "import os, sys\n"
                   "def sleeper(name):\n"
                   "    os.execv('/bin/sleep', ['%s-' + name, '1000'])\n"
                   "r, w = os.pipe()\n"
                   "if os.fork() == 0:\n"
                   "    os.setsid(); os.write(w, b's'); sleeper('session')\n"
                   "if os.fork() == 0:\n"
                   "    os.setsid()\n"
                   "    if os.fork() == 0:\n"
                   "        os.close(0); os.close(1); os.close(2)\n"
                   "        os.write(w, b'd'); sleeper('daemon')\n"
                   "    os._exit(0)\n"
                   "os.wait()\n"
                   "os.read(r, 1); os.read(r, 1)\n"
                   "print('ready', flush=True)\n"
                   "sleeper('first')\n"
                   "END",
                   mark);
}

/* Waits for the command's first output. */
static void await_output(struct crownest_client *client, const char *command_id)
{
    Crownest__V1__StreamLogsRequest request = CROWNEST__V1__STREAM_LOGS_REQUEST__INIT;
    Crownest__V1__StreamLogsResponse *message;
    struct crownest_command_stream_logs_reader *reader;

    request.command_id = STEP_TEXT(command_id);
    request.follow = true;
    assert_done(crownest_command_stream_logs_open(client, &request, NULL, &reader, &error), &error);
    assert_done(crownest_command_stream_logs_next(reader, &message, &error), &error);
    assert_int_equal(message->event->event_case, CROWNEST__V1__COMMAND_EVENT__EVENT_OUTPUT);
    crownest__v1__stream_logs_response__free_unpacked(message, NULL);
    crownest_command_stream_logs_free(reader);
}

static size_t count_processes(const void *sandbox_id)
{
    return host_processes_of(sandbox_id);
}

/* None of the command is left at once; what waits for the next one comes by itself. */
static void assert_idle(const char *sandbox_id)
{
    assert_true(host_processes_of(sandbox_id) <= HOST_IDLE_PROCESSES);
    assert_int_equal(host_settle(count_processes, sandbox_id, HOST_IDLE_PROCESSES,
                                 HOST_IDLE_PROCESSES, SETTLE_MS),
                     HOST_IDLE_PROCESSES);
}

static void cancel(struct crownest_client *client, const char *command_id)
{
    Crownest__V1__CancelCommandRequest request = CROWNEST__V1__CANCEL_COMMAND_REQUEST__INIT;
    Crownest__V1__CancelCommandResponse *response;

    request.command_id = STEP_TEXT(command_id);
    assert_done(crownest_command_cancel(client, &request, NULL, &response, &error), &error);
    assert_int_equal(response->command->exit_cause, CROWNEST__V1__EXIT_CAUSE__EXIT_CAUSE_CANCELLED);
    assert_int_equal(response->command->signal, SIGKILL);
    assert_non_null(response->command->end_time);
    crownest__v1__cancel_command_response__free_unpacked(response, NULL);
}

static void a_cancelled_command_leaves_no_process_whatever_session_it_is_in(void **state)
{
    struct crownest_client *client = service_of(state)->client;
    char id[STEP_ID_SIZE];
    char command_id[STEP_ID_SIZE];
    char mark[32];
    char line[1024];

    (void)snprintf(mark, sizeof(mark), "crownest-%d", (int)getpid());
    family_line(mark, line);
    step_create(client, "python", id);
    step_start(client, id, line, command_id);
    await_output(client, command_id);
    /* The shell, and what it waits for, and the two that got away; execs may still be under way. */
    assert_true(host_processes_of(id) >= HOST_IDLE_PROCESSES + 3);
    assert_true(host_processes_with(mark) >= 1);
    cancel(client, command_id);
    assert_int_equal(host_processes_with(mark), 0);
    assert_idle(id);
    cancel(client, command_id);
    step_do(client, id, "true");
    step_kill(client, id);
}

static void what_a_command_leaves_running_ends_with_it(void **state)
{
    struct crownest_client *client = service_of(state)->client;
    struct transcript transcript;
    char id[STEP_ID_SIZE];

    step_create(client, "base", id);
    step_run_shell(client, id, "setsid sleep 1000 & echo over", &transcript);
    assert_int_equal(transcript.exited->command->exit_code, 0);
    assert_int_equal(transcript.size, 5);
    assert_idle(id);
    transcript_done(&transcript);
    step_kill(client, id);
}

static void a_timeout_ends_a_command_with_its_cause(void **state)
{
    struct crownest_client *client = service_of(state)->client;
    Google__Protobuf__Duration timeout = GOOGLE__PROTOBUF__DURATION__INIT;
    struct transcript transcript;
    char id[STEP_ID_SIZE];

    step_create(client, "base", id);
    Crownest__V1__CommandSpec command = step_shell(id, "echo before; sleep 1000");

    timeout.nanos = 300000000;
    command.timeout = &timeout;
    step_run(client, &command, &transcript);
    assert_int_equal(transcript.exited->command->exit_cause,
                     CROWNEST__V1__EXIT_CAUSE__EXIT_CAUSE_TIMEOUT);
    assert_int_equal(transcript.size, 7);
    const Google__Protobuf__Duration *wall = transcript.exited->command->usage->wall;

    assert_true(wall->seconds < 10 && (wall->seconds > 0 || wall->nanos >= 290000000));
    transcript_done(&transcript);
    step_kill(client, id);
}

static void exit_codes_are_data(void **state)
{
    struct crownest_client *client = service_of(state)->client;
    const int codes[] = {0, 1, 42, 127, 255};
    char id[STEP_ID_SIZE];

    step_create(client, "base", id);
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        struct transcript transcript;
        char line[32];

        (void)snprintf(line, sizeof(line), "exit %d", codes[i]);
        step_run_shell(client, id, line, &transcript);
        assert_int_equal(transcript.exited->command->exit_cause,
                         CROWNEST__V1__EXIT_CAUSE__EXIT_CAUSE_EXITED);
        assert_int_equal(transcript.exited->command->exit_code, codes[i]);
        assert_int_equal(transcript.exited->command->signal, 0);
        transcript_done(&transcript);
    }
    step_kill(client, id);
}

static void a_signal_is_data(void **state)
{
    struct crownest_client *client = service_of(state)->client;
    const int signals[] = {SIGTERM, SIGSEGV, SIGKILL};
    char id[STEP_ID_SIZE];

    step_create(client, "base", id);
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        struct transcript transcript;
        char line[32];

        (void)snprintf(line, sizeof(line), "kill -%d $$", signals[i]);
        step_run_shell(client, id, line, &transcript);
        assert_int_equal(transcript.exited->command->exit_cause,
                         CROWNEST__V1__EXIT_CAUSE__EXIT_CAUSE_SIGNALED);
        assert_int_equal(transcript.exited->command->signal, signals[i]);
        transcript_done(&transcript);
    }
    step_kill(client, id);
}

static void a_kill_ends_its_commands_with_that_cause(void **state)
{
    struct crownest_client *client = service_of(state)->client;
    char id[STEP_ID_SIZE];
    char command_id[STEP_ID_SIZE];

    step_create(client, "base", id);
    step_start(client, id, "echo here; exec sleep 1000", command_id);
    await_output(client, command_id);
    step_kill(client, id);
    Crownest__V1__Command *command = step_command(client, command_id);

    assert_int_equal(command->exit_cause, CROWNEST__V1__EXIT_CAUSE__EXIT_CAUSE_SANDBOX_ENDED);
    assert_int_equal(command->log_bytes, 5);
    crownest__v1__command__free_unpacked(command, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cancelled_command_leaves_no_process_whatever_session_it_is_in),
        cmocka_unit_test(what_a_command_leaves_running_ends_with_it),
        cmocka_unit_test(a_timeout_ends_a_command_with_its_cause),
        cmocka_unit_test(exit_codes_are_data),
        cmocka_unit_test(a_signal_is_data),
        cmocka_unit_test(a_kill_ends_its_commands_with_that_cause),
        cmocka_unit_test(service_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, service_setup, service_teardown);
}
