/* A log that is cut off is resumed: nothing is lost and nothing comes twice. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/client/fake_server.h"
#include "tools/cli/follow.h"

#define NOT_FOUND 5
#define UNAVAILABLE 14

/* One message of a stream, with all its parts. */
struct piece {
    Crownest__V1__StreamLogsResponse response;
    Crownest__V1__CommandEvent event;
    Crownest__V1__LogOutput output;
    Crownest__V1__CommandExited exited;
    Crownest__V1__Command command;
};

static const ProtobufCMessage *output(struct piece *piece, uint64_t offset, const char *text)
{
    crownest__v1__stream_logs_response__init(&piece->response);
    crownest__v1__command_event__init(&piece->event);
    crownest__v1__log_output__init(&piece->output);
    piece->response.event = &piece->event;
    piece->event.event_case = CROWNEST__V1__COMMAND_EVENT__EVENT_OUTPUT;
    piece->event.output = &piece->output;
    piece->output.offset = offset;
    piece->output.stream = CROWNEST__V1__LOG_STREAM__LOG_STREAM_STDOUT;
    piece->output.data.data = (uint8_t *)text;
    piece->output.data.len = strlen(text);
    return &piece->response.base;
}

static const ProtobufCMessage *exited(struct piece *piece, int code)
{
    (void)output(piece, 0, "");
    crownest__v1__command_exited__init(&piece->exited);
    crownest__v1__command__init(&piece->command);
    piece->event.event_case = CROWNEST__V1__COMMAND_EVENT__EVENT_EXITED;
    piece->event.exited = &piece->exited;
    piece->exited.command = &piece->command;
    piece->command.exit_cause = CROWNEST__V1__EXIT_CAUSE__EXIT_CAUSE_EXITED;
    piece->command.exit_code = code;
    return &piece->response.base;
}

/* Follows a script and catches what goes to stdout. */
static int follow_script(const struct fake_answer *answers, size_t count, struct follow *follow,
                         char *ret_text, size_t size, struct crownest_error *error,
                         struct fake_call *ret_calls)
{
    struct crownest_client_options options = {.api_key = ""};
    FILE *catch = tmpfile();

    assert_non_null(catch);
    struct fake_server *server = fake_server_start(answers, count, &options.target);
    assert_int_equal(crownest_client_new(&options, &follow->client, error), 0);
    (void)fflush(stdout);
    int saved = dup(STDOUT_FILENO);
    assert_true(dup2(fileno(catch), STDOUT_FILENO) >= 0);
    int result = follow_logs(follow, error);
    (void)fflush(stdout);
    (void)dup2(saved, STDOUT_FILENO);
    (void)close(saved);
    crownest_client_free(follow->client);
    fake_server_stop(server, ret_calls);
    rewind(catch);
    ret_text[fread(ret_text, 1, size - 1, catch)] = '\0';
    (void)fclose(catch);
    return result;
}

static uint64_t requested_offset(const struct fake_call *call)
{
    Crownest__V1__StreamLogsRequest *request =
        crownest__v1__stream_logs_request__unpack(NULL, call->request_len, call->request);

    assert_non_null(request);
    uint64_t offset = request->offset;
    crownest__v1__stream_logs_request__free_unpacked(request, NULL);
    return offset;
}

static void a_cut_is_resumed_where_it_was(void **state)
{
    struct piece pieces[4];
    /* The second stream begins before what the first one brought. */
    const struct fake_answer answers[] = {
        {.messages = {output(&pieces[0], 0, "abc"), output(&pieces[1], 3, "def")},
         .code = UNAVAILABLE},
        {.messages = {output(&pieces[2], 4, "efghi"), exited(&pieces[3], 7)}},
    };
    struct follow follow = {.until_exit = true, .command_id = "cmd_1"};
    struct fake_call calls[FAKE_CALLS_MAX];
    struct crownest_error error;
    char text[64];

    (void)state;
    assert_int_equal(follow_script(answers, 2, &follow, text, sizeof(text), &error, calls), 0);
    assert_string_equal(text, "abcdefghi");
    assert_int_equal(requested_offset(&calls[0]), 0);
    assert_int_equal(requested_offset(&calls[1]), 6);
    assert_true(follow.exited);
    assert_int_equal(follow.exit_code, 7);
}

static Crownest__V1__StreamLogsRequest *request_of(const struct fake_call *call)
{
    Crownest__V1__StreamLogsRequest *request =
        crownest__v1__stream_logs_request__unpack(NULL, call->request_len, call->request);

    assert_non_null(request);
    return request;
}

static void a_tail_begins_where_the_service_says_and_is_resumed_by_offset(void **state)
{
    struct piece pieces[3];
    const struct fake_answer answers[] = {
        {.messages = {output(&pieces[0], 70, "xyz")}, .code = UNAVAILABLE},
        {.messages = {output(&pieces[1], 73, "!"), exited(&pieces[2], 0)}},
    };
    struct follow follow = {.until_exit = true,
                            .command_id = "cmd_1",
                            .tail_lines = 5,
                            .stream = CROWNEST__V1__LOG_STREAM__LOG_STREAM_STDOUT};
    struct fake_call calls[FAKE_CALLS_MAX];
    struct crownest_error error;
    char text[64];

    (void)state;
    assert_int_equal(follow_script(answers, 2, &follow, text, sizeof(text), &error, calls), 0);
    assert_string_equal(text, "xyz!");
    Crownest__V1__StreamLogsRequest *first = request_of(&calls[0]);
    Crownest__V1__StreamLogsRequest *second = request_of(&calls[1]);
    assert_int_equal(first->tail_lines, 5);
    assert_int_equal(first->stream, CROWNEST__V1__LOG_STREAM__LOG_STREAM_STDOUT);
    assert_int_equal(second->tail_lines, 0);
    assert_int_equal(second->offset, 73);
    assert_int_equal(second->stream, CROWNEST__V1__LOG_STREAM__LOG_STREAM_STDOUT);
    crownest__v1__stream_logs_request__free_unpacked(first, NULL);
    crownest__v1__stream_logs_request__free_unpacked(second, NULL);
}

static void who_only_waits_writes_nothing_and_begins_at_the_end(void **state)
{
    struct piece pieces[2];
    const struct fake_answer answers[] = {
        {.messages = {output(&pieces[0], 999, "x"), exited(&pieces[1], 4)}}};
    struct follow follow = {.until_exit = true, .discard = true, .command_id = "cmd_1"};
    struct fake_call calls[FAKE_CALLS_MAX];
    struct crownest_error error;
    char text[64];

    (void)state;
    assert_int_equal(follow_script(answers, 1, &follow, text, sizeof(text), &error, calls), 0);
    assert_string_equal(text, "");
    Crownest__V1__StreamLogsRequest *request = request_of(&calls[0]);
    assert_int_equal(request->tail_bytes, 1);
    crownest__v1__stream_logs_request__free_unpacked(request, NULL);
    assert_int_equal(follow_exit_code(&follow, &command_wait), 4);
}

static void a_stream_that_ends_before_the_command_is_a_cut(void **state)
{
    struct piece pieces[2];
    const struct fake_answer answers[] = {
        {.messages = {output(&pieces[0], 0, "ab")}},
        {.messages = {exited(&pieces[1], 0)}},
    };
    struct follow follow = {.until_exit = true, .command_id = "cmd_1"};
    struct fake_call calls[FAKE_CALLS_MAX];
    struct crownest_error error;
    char text[64];

    (void)state;
    assert_int_equal(follow_script(answers, 2, &follow, text, sizeof(text), &error, calls), 0);
    assert_int_equal(requested_offset(&calls[1]), 2);
    assert_true(follow.exited);
}

static void an_error_that_stays_is_not_retried(void **state)
{
    const struct fake_answer answers[] = {{.code = NOT_FOUND, .message = "no"}};
    struct follow follow = {.until_exit = true, .command_id = "cmd_1"};
    struct crownest_error error;
    char text[64];

    (void)state;
    assert_int_equal(follow_script(answers, 1, &follow, text, sizeof(text), &error, NULL),
                     -EREMOTEIO);
    assert_int_equal(error.code, NOT_FOUND);
    assert_false(follow.exited);
}

static void bytes_come_raw_or_escaped(void **state)
{
    struct piece pieces[1];
    const struct fake_answer answers[] = {{.messages = {output(&pieces[0], 0, "\x1b[1m\n")}}};
    struct follow raw = {.command_id = "cmd_1"};
    struct follow escaped = {.command_id = "cmd_1", .escape = {true}};
    struct crownest_error error;
    char text[64];

    (void)state;
    assert_int_equal(follow_script(answers, 1, &raw, text, sizeof(text), &error, NULL), 0);
    assert_string_equal(text, "\x1b[1m\n");
    assert_int_equal(follow_script(answers, 1, &escaped, text, sizeof(text), &error, NULL), 0);
    assert_string_equal(text, "\\x1b[1m\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cut_is_resumed_where_it_was),
        cmocka_unit_test(a_tail_begins_where_the_service_says_and_is_resumed_by_offset),
        cmocka_unit_test(who_only_waits_writes_nothing_and_begins_at_the_end),
        cmocka_unit_test(a_stream_that_ends_before_the_command_is_a_cut),
        cmocka_unit_test(an_error_that_stays_is_not_retried),
        cmocka_unit_test(bytes_come_raw_or_escaped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
