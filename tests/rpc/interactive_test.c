/* What a client does to a command that runs: input, terminal, signals, waiting. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/rpc/service_fixture.h"
#include "tests/rpc/steps.h"

#define INVALID_ARGUMENT 3
#define NOT_FOUND 5
#define FAILED_PRECONDITION 9
#define OUT_OF_RANGE 11

static struct crownest_error error;
static char sandbox[STEP_ID_SIZE];

static void start(struct crownest_client *client, const char *line, bool terminal,
                  char ret_id[STEP_ID_SIZE])
{
    Crownest__V1__TerminalSize size = CROWNEST__V1__TERMINAL_SIZE__INIT;
    Crownest__V1__CommandSpec spec = step_shell(sandbox, line);
    Crownest__V1__StartCommandRequest request = CROWNEST__V1__START_COMMAND_REQUEST__INIT;
    Crownest__V1__StartCommandResponse *response;

    spec.keep_stdin = true;
    spec.terminal = terminal ? &size : NULL;
    request.command = &spec;
    assert_done(crownest_command_start(client, &request, NULL, &response, &error), &error);
    assert_int_equal(response->command->terminal, terminal);
    assert_true(response->command->keep_stdin);
    (void)snprintf(ret_id, STEP_ID_SIZE, "%s", response->command->command_id);
    crownest__v1__start_command_response__free_unpacked(response, NULL);
}

/* Returns what was taken, or a negative errno. */
static int64_t write_input(struct crownest_client *client, const char *command, uint64_t offset,
                           const void *data, size_t size, bool close)
{
    Crownest__V1__WriteStdinRequest request = CROWNEST__V1__WRITE_STDIN_REQUEST__INIT;
    Crownest__V1__WriteStdinResponse *response;

    request.command_id = STEP_TEXT(command);
    request.offset = offset;
    request.data = (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)data, .len = size};
    request.close = close;
    int result = crownest_command_write_stdin(client, &request, NULL, &response, &error);

    if (result < 0)
        return result;
    int64_t taken = (int64_t)response->offset;

    assert_int_equal(response->closed, close);
    crownest__v1__write_stdin_response__free_unpacked(response, NULL);
    return taken;
}

static void assert_output(struct crownest_client *client, const char *command, const char *expected,
                          int code)
{
    struct transcript transcript;

    step_read_log(client, command, 0, true, &transcript);
    char *text = transcript_text(&transcript, CROWNEST__V1__LOG_STREAM__LOG_STREAM_STDOUT);

    assert_string_equal(text, expected);
    assert_int_equal(transcript.exited->command->exit_code, code);
    free(text);
    transcript_done(&transcript);
}

/* Waits until the log holds the text. */
static void await_text(struct crownest_client *client, const char *command, const char *expected)
{
    for (bool found = false; !found;) {
        struct transcript transcript;

        step_read_log(client, command, 0, false, &transcript);
        char *text = transcript_text(&transcript, CROWNEST__V1__LOG_STREAM__LOG_STREAM_STDOUT);

        found = strstr(text, expected) != NULL;
        assert_null(found ? NULL : transcript.exited);
        free(text);
        transcript_done(&transcript);
    }
}

static void input_is_written_by_offset(void **state)
{
    struct crownest_client *client = service_of(state)->client;
    char command[STEP_ID_SIZE];

    start(client, "cat", false, command);
    assert_int_equal(write_input(client, command, 0, "hello ", 6, false), 6);
    assert_int_equal(write_input(client, command, 0, "hello ", 6, false), 6);
    assert_int_equal(write_input(client, command, 4, "o world", 7, false), 11);
    assert_refused((int)write_input(client, command, 12, "x", 1, false), &error, OUT_OF_RANGE,
                   "INPUT_OFFSET_GAP", "offset");
    assert_int_equal(write_input(client, command, 11, "", 0, true), 11);
    assert_output(client, command, "hello world", 0);
    assert_refused((int)write_input(client, command, 11, "x", 1, false), &error,
                   FAILED_PRECONDITION, "COMMAND_NOT_RUNNING", "command_id");
}

/* Much more than a pipe holds goes through one request. */
static void long_input_waits_for_room(void **state)
{
    struct crownest_client *client = service_of(state)->client;
    static char data[1 << 20];
    char command[STEP_ID_SIZE];

    memset(data, 'x', sizeof(data));
    start(client, "wc -c", false, command);
    assert_int_equal(write_input(client, command, 0, data, sizeof(data), false), sizeof(data));
    assert_int_equal(write_input(client, command, sizeof(data), data, 5, true), sizeof(data) + 5);
    assert_output(client, command, "1048581\n", 0);
}

static void what_nobody_reads_comes_back_as_not_taken(void **state)
{
    struct crownest_client *client = service_of(state)->client;
    static char data[1 << 20];
    char command[STEP_ID_SIZE];

    start(client, "sleep 1000", false, command);
    int64_t taken = write_input(client, command, 0, data, sizeof(data), false);

    assert_true(taken > 0 && taken < (int64_t)sizeof(data));
    assert_int_equal(write_input(client, command, (uint64_t)taken, "", 0, false), taken);
    Crownest__V1__CancelCommandRequest cancel = CROWNEST__V1__CANCEL_COMMAND_REQUEST__INIT;
    Crownest__V1__CancelCommandResponse *cancelled;

    cancel.command_id = command;
    assert_done(crownest_command_cancel(client, &cancel, NULL, &cancelled, &error), &error);
    crownest__v1__cancel_command_response__free_unpacked(cancelled, NULL);
}

static int resize(struct crownest_client *client, const char *command, uint32_t rows,
                  uint32_t columns)
{
    Crownest__V1__TerminalSize size = CROWNEST__V1__TERMINAL_SIZE__INIT;
    Crownest__V1__ResizeCommandRequest request = CROWNEST__V1__RESIZE_COMMAND_REQUEST__INIT;
    Crownest__V1__ResizeCommandResponse *response;

    size.rows = rows;
    size.columns = columns;
    request.command_id = STEP_TEXT(command);
    request.terminal = &size;
    int result = crownest_command_resize(client, &request, NULL, &response, &error);

    if (result == 0)
        crownest__v1__resize_command_response__free_unpacked(response, NULL);
    return result;
}

static void a_terminal_has_a_size_and_a_keyboard(void **state)
{
    struct crownest_client *client = service_of(state)->client;
    char command[STEP_ID_SIZE];

    start(client,
          "trap 'stty size' WINCH; echo $TERM; stty size; until read a; do :; done; echo \"<$a>\"; "
          "read b; exit 3",
          true, command);
    await_text(client, command, "xterm-256color\r\n24 80\r\n");
    assert_done(resize(client, command, 30, 100), &error);
    assert_refused(resize(client, command, 30, 1001), &error, INVALID_ARGUMENT, "TERMINAL_INVALID",
                   "terminal.columns");
    await_text(client, command, "30 100\r\n");
    assert_int_equal(write_input(client, command, 0, "hi\n", 3, false), 3);
    await_text(client, command, "<hi>");
    assert_int_equal(write_input(client, command, 3, "\n", 1, false), 4);
    struct transcript transcript;

    step_read_log(client, command, 0, true, &transcript);
    assert_int_equal(transcript.exited->command->exit_code, 3);
    transcript_done(&transcript);
    assert_refused(resize(client, command, 30, 100), &error, FAILED_PRECONDITION,
                   "COMMAND_NOT_RUNNING", "command_id");
}

static int send_signal(struct crownest_client *client, const char *request_id, const char *command,
                       int number)
{
    Crownest__V1__SignalCommandRequest request = CROWNEST__V1__SIGNAL_COMMAND_REQUEST__INIT;
    Crownest__V1__SignalCommandResponse *response;

    request.request_id = STEP_TEXT(request_id);
    request.command_id = STEP_TEXT(command);
    request.signal = number;
    int result = crownest_command_signal(client, &request, NULL, &response, &error);

    if (result == 0)
        crownest__v1__signal_command_response__free_unpacked(response, NULL);
    return result;
}

static void a_signal_arrives_once_for_each_request(void **state)
{
    struct service *service = service_of(state);
    struct crownest_client *client = service->client;
    char command[STEP_ID_SIZE];

    start(client,
          "trap 'echo usr1' USR1; trap 'exit 4' TERM; echo ready; "
          "while :; do read -t 0.05 x; done",
          false, command);
    await_text(client, command, "ready\n");
    assert_done(send_signal(client, "sig-1", command, SIGUSR1), &error);
    await_text(client, command, "usr1\n");
    assert_done(send_signal(client, "sig-1", command, SIGUSR1), &error);
    service_crash_crownestd(service);
    service_come_back(service);
    client = service->client;
    assert_done(send_signal(client, "sig-1", command, SIGUSR1), &error);
    assert_refused(send_signal(client, "sig-1", command, SIGUSR2), &error, INVALID_ARGUMENT,
                   "REQUEST_ID_REUSED", "request_id");
    assert_refused(send_signal(client, "", command, 65), &error, INVALID_ARGUMENT, "SIGNAL_INVALID",
                   "signal");
    assert_refused(send_signal(service->other, "", command, SIGTERM), &error, NOT_FOUND,
                   "COMMAND_NOT_FOUND", "command_id");
    assert_done(send_signal(client, "sig-2", command, SIGTERM), &error);
    assert_output(client, command, "ready\nusr1\n", 4);
}

static Crownest__V1__Command *wait_for(struct crownest_client *client, const char *command,
                                       int64_t seconds, int32_t nanos)
{
    Google__Protobuf__Duration timeout = GOOGLE__PROTOBUF__DURATION__INIT;
    Crownest__V1__WaitCommandRequest request = CROWNEST__V1__WAIT_COMMAND_REQUEST__INIT;
    Crownest__V1__WaitCommandResponse *response;

    timeout.seconds = seconds;
    timeout.nanos = nanos;
    request.command_id = STEP_TEXT(command);
    request.timeout = &timeout;
    assert_done(crownest_command_wait(client, &request, NULL, &response, &error), &error);
    Crownest__V1__Command *result = response->command;

    response->command = NULL;
    crownest__v1__wait_command_response__free_unpacked(response, NULL);
    return result;
}

static void waiting_ends_with_the_command_or_its_own_bound(void **state)
{
    struct crownest_client *client = service_of(state)->client;
    char command[STEP_ID_SIZE];

    start(client, "read x; exit 5", false, command);
    Crownest__V1__Command *record = wait_for(client, command, 0, 50000000);

    assert_null(record->end_time);
    crownest__v1__command__free_unpacked(record, NULL);
    assert_int_equal(write_input(client, command, 0, "\n", 1, false), 1);
    record = wait_for(client, command, 30, 0);
    assert_non_null(record->end_time);
    assert_int_equal(record->exit_code, 5);
    crownest__v1__command__free_unpacked(record, NULL);
}

static int create_sandbox(void **state)
{
    struct service *service = *state;

    if (service->client)
        step_create(service->client, "base", sandbox);
    return 0;
}

static int kill_sandbox(void **state)
{
    struct service *service = *state;

    if (service->client)
        step_kill(service->client, sandbox);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, create_sandbox, kill_sandbox)
        TEST(input_is_written_by_offset),
        TEST(long_input_waits_for_room),
        TEST(what_nobody_reads_comes_back_as_not_taken),
        TEST(a_terminal_has_a_size_and_a_keyboard),
        TEST(a_signal_arrives_once_for_each_request),
        TEST(waiting_ends_with_the_command_or_its_own_bound),
        cmocka_unit_test(service_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, service_setup, service_teardown);
}
