/* Typed calls against a server: unary, reading a stream, writing a stream, cancelling. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "bindings/c/crownest_command.h"
#include "bindings/c/crownest_file.h"
#include "bindings/c/crownest_key.h"
#include "tests/unit/client/fake_server.h"

#define CANCELLED 1
#define DEADLINE_EXCEEDED 4
#define UNAVAILABLE 14

static struct crownest_client *connect_to(const char *target)
{
    struct crownest_client_options options = {
        .target = target, .api_key = "cnk_test", .project = "blue"};
    struct crownest_client *client;
    struct crownest_error error;

    assert_int_equal(crownest_client_new(&options, &client, &error), 0);
    return client;
}

static void a_unary_call_brings_its_answer(void **state)
{
    Crownest__V1__WhoAmIResponse answer = CROWNEST__V1__WHO_AM_IRESPONSE__INIT;
    Crownest__V1__WhoAmIRequest request = CROWNEST__V1__WHO_AM_IREQUEST__INIT;
    struct fake_answer script = {.messages = {&answer.base}};
    Crownest__V1__WhoAmIResponse *response;
    struct fake_call calls[FAKE_CALLS_MAX];
    struct crownest_error error;
    const char *target;

    (void)state;
    answer.project_id = (char *)"prj_1";
    struct fake_server *server = fake_server_start(&script, 1, &target);
    struct crownest_client *client = connect_to(target);
    assert_int_equal(crownest_key_who_am_i(client, &request, NULL, &response, &error), 0);
    assert_string_equal(response->project_id, "prj_1");
    crownest__v1__who_am_iresponse__free_unpacked(response, NULL);
    crownest_client_free(client);
    fake_server_stop(server, calls);
    assert_string_equal(calls[0].path, "/crownest.v1.KeyService/WhoAmI");
    assert_string_equal(calls[0].authorization, "Bearer cnk_test");
    assert_string_equal(calls[0].project, "blue");
}

static void a_status_becomes_an_error(void **state)
{
    Crownest__V1__WhoAmIRequest request = CROWNEST__V1__WHO_AM_IREQUEST__INIT;
    /* google.rpc.Status { details: Any { "/google.rpc.ErrorInfo", ErrorInfo { reason: "R" } } } */
    static const char details[] = "\x1a\x1c\x0a\x15/google.rpc.ErrorInfo\x12\x03\x0a\x01R";
    struct fake_answer script = {
        .code = 7, .message = "no", .details = details, .details_len = sizeof(details) - 1};
    Crownest__V1__WhoAmIResponse *response = NULL;
    struct crownest_error error;
    const char *target;

    (void)state;
    struct fake_server *server = fake_server_start(&script, 1, &target);
    struct crownest_client *client = connect_to(target);
    assert_int_equal(crownest_key_who_am_i(client, &request, NULL, &response, &error), -EREMOTEIO);
    assert_null(response);
    assert_int_equal(error.code, 7);
    assert_string_equal(error.message, "no");
    assert_string_equal(error.reason, "R");
    crownest_client_free(client);
    fake_server_stop(server, NULL);
}

static void nobody_there_is_unavailable_and_retryable(void **state)
{
    Crownest__V1__WhoAmIRequest request = CROWNEST__V1__WHO_AM_IREQUEST__INIT;
    Crownest__V1__WhoAmIResponse *response = NULL;
    struct crownest_client *client = connect_to("unix:/nonexistent/crownest.sock");
    struct crownest_error error;

    (void)state;
    assert_int_equal(crownest_key_who_am_i(client, &request, NULL, &response, &error), -EREMOTEIO);
    assert_int_equal(error.code, UNAVAILABLE);
    assert_true(error.retryable);
    crownest_client_free(client);
}

static void a_deadline_ends_a_call(void **state)
{
    Crownest__V1__WhoAmIRequest request = CROWNEST__V1__WHO_AM_IREQUEST__INIT;
    struct crownest_call_options options = {.deadline_ms = 50};
    struct fake_answer script = {.hang = true};
    Crownest__V1__WhoAmIResponse *response = NULL;
    struct crownest_error error;
    const char *target;

    (void)state;
    struct fake_server *server = fake_server_start(&script, 1, &target);
    struct crownest_client *client = connect_to(target);
    assert_int_equal(crownest_key_who_am_i(client, &request, &options, &response, &error),
                     -EREMOTEIO);
    assert_int_equal(error.code, DEADLINE_EXCEEDED);
    crownest_client_free(client);
    fake_server_stop(server, NULL);
}

static void a_stream_is_read_to_its_end(void **state)
{
    Crownest__V1__ReadFileResponse first = CROWNEST__V1__READ_FILE_RESPONSE__INIT;
    Crownest__V1__ReadFileResponse second = CROWNEST__V1__READ_FILE_RESPONSE__INIT;
    struct fake_answer script = {.messages = {&first.base, &second.base}};
    Crownest__V1__ReadFileRequest request = CROWNEST__V1__READ_FILE_REQUEST__INIT;
    Crownest__V1__ReadFileResponse *message;
    struct crownest_file_read_reader *reader;
    struct fake_call calls[FAKE_CALLS_MAX];
    struct crownest_error error;
    const char *target;

    (void)state;
    second.offset = 9;
    request.path = (char *)"/etc/os-release";
    struct fake_server *server = fake_server_start(&script, 1, &target);
    struct crownest_client *client = connect_to(target);
    assert_int_equal(crownest_file_read_open(client, &request, NULL, &reader, &error), 0);
    for (uint64_t offset = 0; offset <= 9; offset += 9) {
        assert_int_equal(crownest_file_read_next(reader, &message, &error), 1);
        assert_int_equal(message->offset, offset);
        crownest__v1__read_file_response__free_unpacked(message, NULL);
    }
    assert_int_equal(crownest_file_read_next(reader, &message, &error), 0);
    assert_int_equal(crownest_file_read_next(reader, &message, &error), 0);
    crownest_file_read_free(reader);
    crownest_client_free(client);
    fake_server_stop(server, calls);
    Crownest__V1__ReadFileRequest *seen =
        crownest__v1__read_file_request__unpack(NULL, calls[0].request_len, calls[0].request);
    assert_non_null(seen);
    assert_string_equal(seen->path, "/etc/os-release");
    crownest__v1__read_file_request__free_unpacked(seen, NULL);
}

static void a_stream_is_written(void **state)
{
    Crownest__V1__WriteFileResponse answer = CROWNEST__V1__WRITE_FILE_RESPONSE__INIT;
    Crownest__V1__WriteFileRequest part = CROWNEST__V1__WRITE_FILE_REQUEST__INIT;
    struct fake_answer script = {.messages = {&answer.base}};
    Crownest__V1__WriteFileResponse *response;
    struct crownest_file_write_writer *writer;
    struct fake_call calls[FAKE_CALLS_MAX];
    struct crownest_error error;
    const char *target;

    (void)state;
    answer.size_bytes = 12;
    part.part_case = CROWNEST__V1__WRITE_FILE_REQUEST__PART_DATA;
    part.data.data = (uint8_t *)"abc";
    part.data.len = 3;
    struct fake_server *server = fake_server_start(&script, 1, &target);
    struct crownest_client *client = connect_to(target);
    assert_int_equal(crownest_file_write_open(client, NULL, &writer, &error), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(crownest_file_write_send(writer, &part, &error), 0);
    assert_int_equal(crownest_file_write_finish(writer, &response, &error), 0);
    assert_int_equal(response->size_bytes, 12);
    crownest__v1__write_file_response__free_unpacked(response, NULL);
    crownest_file_write_free(writer);
    crownest_client_free(client);
    fake_server_stop(server, calls);
    assert_int_equal(calls[0].message_count, 4);
}

static void *cancel_reader(void *reader)
{
    crownest_command_run_cancel(reader);
    return NULL;
}

static void another_thread_cancels_a_read(void **state)
{
    Crownest__V1__RunCommandResponse event = CROWNEST__V1__RUN_COMMAND_RESPONSE__INIT;
    struct fake_answer script = {.messages = {&event.base}, .hang = true};
    Crownest__V1__RunCommandRequest request = CROWNEST__V1__RUN_COMMAND_REQUEST__INIT;
    Crownest__V1__RunCommandResponse *message;
    struct crownest_command_run_reader *reader;
    struct fake_call calls[FAKE_CALLS_MAX];
    struct crownest_error error;
    const char *target;
    pthread_t thread;

    (void)state;
    struct fake_server *server = fake_server_start(&script, 1, &target);
    struct crownest_client *client = connect_to(target);
    assert_int_equal(crownest_command_run_open(client, &request, NULL, &reader, &error), 0);
    assert_int_equal(crownest_command_run_next(reader, &message, &error), 1);
    crownest__v1__run_command_response__free_unpacked(message, NULL);
    assert_int_equal(pthread_create(&thread, NULL, cancel_reader, reader), 0);
    assert_int_equal(crownest_command_run_next(reader, &message, &error), -EREMOTEIO);
    assert_int_equal(error.code, CANCELLED);
    (void)pthread_join(thread, NULL);
    crownest_command_run_free(reader);
    crownest_client_free(client);
    fake_server_stop(server, calls);
    assert_true(calls[0].cancelled);
}

static void a_reader_freed_early_cancels_its_call(void **state)
{
    struct fake_answer script = {.hang = true};
    Crownest__V1__RunCommandRequest request = CROWNEST__V1__RUN_COMMAND_REQUEST__INIT;
    Crownest__V1__RunCommandResponse event = CROWNEST__V1__RUN_COMMAND_RESPONSE__INIT;
    Crownest__V1__RunCommandResponse *message;
    struct crownest_command_run_reader *reader;
    struct fake_call calls[FAKE_CALLS_MAX];
    struct crownest_error error;
    const char *target;

    (void)state;
    script.messages[0] = &event.base;
    struct fake_server *server = fake_server_start(&script, 1, &target);
    struct crownest_client *client = connect_to(target);
    assert_int_equal(crownest_command_run_open(client, &request, NULL, &reader, &error), 0);
    assert_int_equal(crownest_command_run_next(reader, &message, &error), 1);
    crownest__v1__run_command_response__free_unpacked(message, NULL);
    crownest_command_run_free(reader);
    crownest_client_free(client);
    fake_server_stop(server, calls);
    assert_true(calls[0].cancelled);
}

static void a_key_that_would_split_the_header_is_refused(void **state)
{
    struct crownest_client_options options = {.target = "127.0.0.1:1", .api_key = "a\nb"};
    struct crownest_client *client = NULL;
    struct crownest_error error;

    (void)state;
    assert_int_equal(crownest_client_new(&options, &client, &error), -EINVAL);
    assert_null(client);
}

static void request_ids_differ(void **state)
{
    char first[CROWNEST_REQUEST_ID_SIZE];
    char second[CROWNEST_REQUEST_ID_SIZE];

    (void)state;
    crownest_request_id(first);
    crownest_request_id(second);
    assert_int_equal(strlen(first), 32);
    assert_string_not_equal(first, second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_unary_call_brings_its_answer),
        cmocka_unit_test(a_status_becomes_an_error),
        cmocka_unit_test(nobody_there_is_unavailable_and_retryable),
        cmocka_unit_test(a_deadline_ends_a_call),
        cmocka_unit_test(a_stream_is_read_to_its_end),
        cmocka_unit_test(a_stream_is_written),
        cmocka_unit_test(another_thread_cancels_a_read),
        cmocka_unit_test(a_reader_freed_early_cancels_its_call),
        cmocka_unit_test(a_key_that_would_split_the_header_is_refused),
        cmocka_unit_test(request_ids_differ),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
