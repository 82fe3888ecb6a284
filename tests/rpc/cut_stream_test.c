/* Streams that are open when their key is revoked, or expires, end; what they did stays done. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "bindings/c/crownest_key.h"
#include "tests/rpc/service_fixture.h"
#include "tests/rpc/steps.h"

#define UNAUTHENTICATED 16
#define SIZE 70000

static struct crownest_error error;
static char sandbox[STEP_ID_SIZE];
static uint8_t data[SIZE];

struct caller {
    char key_id[STEP_ID_SIZE];
    struct crownest_client *client;
};

static struct caller mint(const struct service *service, unsigned seconds)
{
    Crownest__V1__CreateKeyRequest request = CROWNEST__V1__CREATE_KEY_REQUEST__INIT;
    Google__Protobuf__Timestamp expiry = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    Crownest__V1__CreateKeyResponse *response;
    struct caller caller;

    expiry.seconds = time(NULL) + seconds;
    request.expire_time = seconds ? &expiry : NULL;
    assert_done(crownest_key_create(service->operator_client, &request, NULL, &response, &error),
                &error);
    (void)snprintf(caller.key_id, sizeof(caller.key_id), "%s", response->key->key_id);
    caller.client = service_client(service, response->secret);
    crownest__v1__create_key_response__free_unpacked(response, NULL);
    return caller;
}

static void revoke_key(const struct service *service, char *key_id)
{
    Crownest__V1__RevokeKeyRequest request = CROWNEST__V1__REVOKE_KEY_REQUEST__INIT;
    Crownest__V1__RevokeKeyResponse *response;

    request.key_id = key_id;
    assert_done(crownest_key_revoke(service->operator_client, &request, NULL, &response, &error),
                &error);
    crownest__v1__revoke_key_response__free_unpacked(response, NULL);
}

/* A reader that has all there is, and waits. */
static struct crownest_command_stream_logs_reader *follow(struct crownest_client *client,
                                                          char *command_id)
{
    Crownest__V1__StreamLogsRequest request = CROWNEST__V1__STREAM_LOGS_REQUEST__INIT;
    Crownest__V1__StreamLogsResponse *message;
    struct crownest_command_stream_logs_reader *reader;

    request.command_id = command_id;
    request.follow = true;
    assert_done(crownest_command_stream_logs_open(client, &request, NULL, &reader, &error), &error);
    assert_int_equal(crownest_command_stream_logs_next(reader, &message, &error), 1);
    assert_int_equal(message->event->event_case, CROWNEST__V1__COMMAND_EVENT__EVENT_OUTPUT);
    crownest__v1__stream_logs_response__free_unpacked(message, NULL);
    return reader;
}

static void assert_reader_ends(struct crownest_command_stream_logs_reader *reader,
                               const char *reason)
{
    Crownest__V1__StreamLogsResponse *message;

    assert_refused(crownest_command_stream_logs_next(reader, &message, &error), &error,
                   UNAUTHENTICATED, reason, "");
    crownest_command_stream_logs_free(reader);
}

static void a_reader_that_waits_ends_with_its_key(void **state)
{
    struct service *service = service_of(state);
    struct caller caller = mint(service, 0);
    char command[STEP_ID_SIZE];

    step_create(service->client, "base", sandbox);
    step_start(service->client, sandbox, "echo one; while ! test -e /tmp/end; do sleep 0.1; done",
               command);
    struct crownest_command_stream_logs_reader *cut = follow(caller.client, command);
    struct crownest_command_stream_logs_reader *other = follow(service->client, command);

    revoke_key(service, caller.key_id);
    assert_reader_ends(cut, "KEY_REVOKED");
    /* Somebody else's goes on. */
    Crownest__V1__StreamLogsResponse *message;

    step_do(service->client, sandbox, "touch /tmp/end");
    assert_int_equal(crownest_command_stream_logs_next(other, &message, &error), 1);
    assert_int_equal(message->event->event_case, CROWNEST__V1__COMMAND_EVENT__EVENT_EXITED);
    crownest__v1__stream_logs_response__free_unpacked(message, NULL);
    crownest_command_stream_logs_free(other);
    crownest_client_free(caller.client);
}

static void a_run_ends_with_its_key_and_its_command_goes_on(void **state)
{
    struct service *service = service_of(state);
    struct caller caller = mint(service, 0);
    Crownest__V1__CommandSpec command =
        step_shell(sandbox, "while ! test -e /tmp/go; do sleep 0.1; done; echo done");
    Crownest__V1__RunCommandRequest request = CROWNEST__V1__RUN_COMMAND_REQUEST__INIT;
    Crownest__V1__RunCommandResponse *message;
    struct crownest_command_run_reader *reader;
    struct transcript transcript = {0};
    char id[STEP_ID_SIZE];

    request.command = &command;
    assert_done(crownest_command_run_open(caller.client, &request, NULL, &reader, &error), &error);
    assert_int_equal(crownest_command_run_next(reader, &message, &error), 1);
    (void)snprintf(id, sizeof(id), "%s", message->event->started->command->command_id);
    crownest__v1__run_command_response__free_unpacked(message, NULL);
    revoke_key(service, caller.key_id);
    assert_refused(crownest_command_run_next(reader, &message, &error), &error, UNAUTHENTICATED,
                   "KEY_REVOKED", "");
    crownest_command_run_free(reader);
    step_do(service->client, sandbox, "touch /tmp/go");
    step_read_log(service->client, id, 0, true, &transcript);
    assert_int_equal(transcript.size, strlen("done\n"));
    assert_int_equal(transcript.exited->command->exit_code, 0);
    transcript_done(&transcript);
    crownest_client_free(caller.client);
}

static void an_upload_ends_with_its_key_and_leaves_no_file(void **state)
{
    struct service *service = service_of(state);
    struct caller caller = mint(service, 0);
    Crownest__V1__WriteFileRequest message = CROWNEST__V1__WRITE_FILE_REQUEST__INIT;
    Crownest__V1__WriteFileOpen open = CROWNEST__V1__WRITE_FILE_OPEN__INIT;
    Crownest__V1__WriteFileResponse *response;
    struct crownest_file_write_writer *writer;

    open.sandbox_id = sandbox;
    open.path = STEP_TEXT("half");
    message.part_case = CROWNEST__V1__WRITE_FILE_REQUEST__PART_OPEN;
    message.open = &open;
    assert_done(crownest_file_write_open(caller.client, NULL, &writer, &error), &error);
    assert_done(crownest_file_write_send(writer, &message, &error), &error);
    message.part_case = CROWNEST__V1__WRITE_FILE_REQUEST__PART_DATA;
    message.data = (ProtobufCBinaryData){.data = data, .len = sizeof(data)};
    assert_done(crownest_file_write_send(writer, &message, &error), &error);
    revoke_key(service, caller.key_id);
    assert_refused(crownest_file_write_finish(writer, &response, &error), &error, UNAUTHENTICATED,
                   "KEY_REVOKED", "");
    crownest_file_write_free(writer);
    step_do(service->client, sandbox, "test ! -e /workspace/half");
    crownest_client_free(caller.client);
}

static void a_reader_ends_when_its_key_expires(void **state)
{
    struct service *service = service_of(state);
    struct caller caller = mint(service, 3);
    char command[STEP_ID_SIZE];

    step_start(service->client, sandbox, "echo one; exec sleep 1000", command);
    assert_reader_ends(follow(caller.client, command), "KEY_EXPIRED");
    step_kill(service->client, sandbox);
    crownest_client_free(caller.client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reader_that_waits_ends_with_its_key),
        cmocka_unit_test(a_run_ends_with_its_key_and_its_command_goes_on),
        cmocka_unit_test(an_upload_ends_with_its_key_and_leaves_no_file),
        cmocka_unit_test(a_reader_ends_when_its_key_expires),
        cmocka_unit_test(service_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, service_setup, service_teardown);
}
