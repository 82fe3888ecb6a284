#include "tests/rpc/steps.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "private/grpc_health.pb-c.h"

#define WRITE_CHUNK (512U * 1024)

static struct crownest_error error;

void assert_done(int result, const struct crownest_error *said)
{
    if (result < 0)
        fail_msg("refused: %s %s %s at `%s`: %s", strerror(-result), crownest_code_name(said->code),
                 said->reason, said->field, said->message);
}

void assert_refused_at(int result, const struct crownest_error *said, int code, const char *reason,
                       const char *field, const char *what)
{
    if (result >= 0)
        fail_msg("%s: done, and not %s %s", what, crownest_code_name(code), reason);
    if (said->code != code || strcmp(said->reason, reason) != 0 || strcmp(said->field, field) != 0)
        fail_msg("%s: %s %s at `%s` (%s), and not %s %s at `%s`", what,
                 crownest_code_name(said->code), said->reason, said->field, said->message,
                 crownest_code_name(code), reason, field);
}

void step_create(struct crownest_client *client, const char *template, char ret_id[STEP_ID_SIZE])
{
    Crownest__V1__CreateSandboxRequest request = CROWNEST__V1__CREATE_SANDBOX_REQUEST__INIT;
    Crownest__V1__CreateSandboxResponse *response;

    request.template_ = STEP_TEXT(template);
    assert_done(crownest_sandbox_create(client, &request, NULL, &response, &error), &error);
    assert_int_equal(response->sandbox->state, CROWNEST__V1__SANDBOX_STATE__SANDBOX_STATE_RUNNING);
    (void)snprintf(ret_id, STEP_ID_SIZE, "%s", response->sandbox->sandbox_id);
    crownest__v1__create_sandbox_response__free_unpacked(response, NULL);
}

int step_try_create(struct crownest_client *client, const char *request_id, const char *template,
                    char ret_id[STEP_ID_SIZE], struct crownest_error *ret_error)
{
    Crownest__V1__CreateSandboxRequest request = CROWNEST__V1__CREATE_SANDBOX_REQUEST__INIT;
    Crownest__V1__CreateSandboxResponse *response;

    request.request_id = STEP_TEXT(request_id);
    request.template_ = STEP_TEXT(template);
    int result = crownest_sandbox_create(client, &request, NULL, &response, ret_error);

    if (result < 0)
        return result;
    (void)snprintf(ret_id, STEP_ID_SIZE, "%s", response->sandbox->sandbox_id);
    crownest__v1__create_sandbox_response__free_unpacked(response, NULL);
    return 0;
}

int step_try_collect(struct crownest_client *client, const char *request_id, const char *sandbox_id,
                     const char *path, char ret_id[STEP_ID_SIZE], struct crownest_error *ret_error)
{
    Crownest__V1__CollectItem item = CROWNEST__V1__COLLECT_ITEM__INIT;
    Crownest__V1__CollectItem *items[] = {&item};
    Crownest__V1__CollectArtifactsRequest request = CROWNEST__V1__COLLECT_ARTIFACTS_REQUEST__INIT;
    Crownest__V1__CollectArtifactsResponse *response;

    item.path = STEP_TEXT(path);
    request.request_id = STEP_TEXT(request_id);
    request.sandbox_id = STEP_TEXT(sandbox_id);
    request.items = items;
    request.n_items = 1;
    int result = crownest_artifact_collect(client, &request, NULL, &response, ret_error);

    if (result < 0)
        return result;
    assert_int_equal(response->n_artifacts, 1);
    (void)snprintf(ret_id, STEP_ID_SIZE, "%s", response->artifacts[0]->artifact_id);
    crownest__v1__collect_artifacts_response__free_unpacked(response, NULL);
    return 0;
}

void step_kill(struct crownest_client *client, const char *sandbox_id)
{
    Crownest__V1__KillSandboxRequest request = CROWNEST__V1__KILL_SANDBOX_REQUEST__INIT;
    Crownest__V1__KillSandboxResponse *response;

    request.sandbox_id = STEP_TEXT(sandbox_id);
    assert_done(crownest_sandbox_kill(client, &request, NULL, &response, &error), &error);
    assert_int_equal(response->sandbox->state, CROWNEST__V1__SANDBOX_STATE__SANDBOX_STATE_KILLED);
    crownest__v1__kill_sandbox_response__free_unpacked(response, NULL);
}

Crownest__V1__Sandbox *step_sandbox(struct crownest_client *client, const char *sandbox_id)
{
    Crownest__V1__GetSandboxRequest request = CROWNEST__V1__GET_SANDBOX_REQUEST__INIT;
    Crownest__V1__GetSandboxResponse *response;

    request.sandbox_id = STEP_TEXT(sandbox_id);
    assert_done(crownest_sandbox_get(client, &request, NULL, &response, &error), &error);
    Crownest__V1__Sandbox *sandbox = response->sandbox;

    response->sandbox = NULL;
    crownest__v1__get_sandbox_response__free_unpacked(response, NULL);
    return sandbox;
}

Crownest__V1__Command *step_command(struct crownest_client *client, const char *command_id)
{
    Crownest__V1__GetCommandRequest request = CROWNEST__V1__GET_COMMAND_REQUEST__INIT;
    Crownest__V1__GetCommandResponse *response;

    request.command_id = STEP_TEXT(command_id);
    assert_done(crownest_command_get(client, &request, NULL, &response, &error), &error);
    Crownest__V1__Command *command = response->command;

    response->command = NULL;
    crownest__v1__get_command_response__free_unpacked(response, NULL);
    return command;
}

Crownest__V1__CommandSpec step_shell(const char *sandbox_id, const char *line)
{
    Crownest__V1__CommandSpec command = CROWNEST__V1__COMMAND_SPEC__INIT;

    command.sandbox_id = STEP_TEXT(sandbox_id);
    command.shell = STEP_TEXT(line);
    return command;
}

void step_start(struct crownest_client *client, const char *sandbox_id, const char *line,
                char ret_command_id[STEP_ID_SIZE])
{
    Crownest__V1__CommandSpec command = step_shell(sandbox_id, line);
    Crownest__V1__StartCommandRequest request = CROWNEST__V1__START_COMMAND_REQUEST__INIT;
    Crownest__V1__StartCommandResponse *response;

    request.command = &command;
    assert_done(crownest_command_start(client, &request, NULL, &response, &error), &error);
    (void)snprintf(ret_command_id, STEP_ID_SIZE, "%s", response->command->command_id);
    crownest__v1__start_command_response__free_unpacked(response, NULL);
}

void step_await_output(struct crownest_client *client, const char *command_id, uint64_t bytes)
{
    for (;;) {
        Crownest__V1__Command *command = step_command(client, command_id);
        uint64_t now = command->log_bytes;

        assert_null(command->end_time);
        crownest__v1__command__free_unpacked(command, NULL);
        if (now >= bytes)
            return;
    }
}

/* Transcripts */

static void reserve(struct transcript *transcript, size_t more)
{
    if (transcript->size + more <= transcript->capacity)
        return;
    transcript->capacity = (transcript->size + more) * 2;
    transcript->bytes = realloc(transcript->bytes, transcript->capacity);
    transcript->streams = realloc(transcript->streams, transcript->capacity);
    if (!transcript->bytes || !transcript->streams)
        abort();
}

static void add_output(struct transcript *transcript, const Crownest__V1__LogOutput *output)
{
    if (transcript->frames++ == 0 && transcript->size == 0)
        assert_int_equal(output->offset, transcript->from);
    assert_int_equal(output->offset, transcript->from + transcript->size);
    assert_true(output->data.len > 0 && output->data.len <= 64 * 1024);
    assert_true(output->stream == CROWNEST__V1__LOG_STREAM__LOG_STREAM_STDOUT ||
                output->stream == CROWNEST__V1__LOG_STREAM__LOG_STREAM_STDERR);
    assert_non_null(output->time);
    reserve(transcript, output->data.len);
    memcpy(transcript->bytes + transcript->size, output->data.data, output->data.len);
    memset(transcript->streams + transcript->size, (int)output->stream, output->data.len);
    transcript->size += output->data.len;
}

void transcript_add(struct transcript *transcript, Crownest__V1__CommandEvent *event)
{
    assert_non_null(event);
    assert_null(transcript->exited);
    switch (event->event_case) {
    case CROWNEST__V1__COMMAND_EVENT__EVENT_STARTED:
        assert_int_equal(transcript->frames, 0);
        (void)snprintf(transcript->command_id, STEP_ID_SIZE, "%s",
                       event->started->command->command_id);
        break;
    case CROWNEST__V1__COMMAND_EVENT__EVENT_OUTPUT:
        add_output(transcript, event->output);
        break;
    case CROWNEST__V1__COMMAND_EVENT__EVENT_EXITED:
        transcript->exited = event->exited;
        event->exited = NULL;
        event->event_case = CROWNEST__V1__COMMAND_EVENT__EVENT__NOT_SET;
        break;
    default:
        fail_msg("an event of kind %d", (int)event->event_case);
    }
}

void transcript_done(struct transcript *transcript)
{
    free(transcript->bytes);
    free(transcript->streams);
    if (transcript->exited)
        crownest__v1__command_exited__free_unpacked(transcript->exited, NULL);
    *transcript = (struct transcript){0};
}

char *transcript_text(const struct transcript *transcript, Crownest__V1__LogStream stream)
{
    char *text = calloc(1, transcript->size + 1);
    size_t at = 0;

    if (!text)
        abort();
    for (size_t i = 0; i < transcript->size; i++) {
        if (transcript->streams[i] == stream)
            text[at++] = (char)transcript->bytes[i];
    }
    return text;
}

void assert_transcript_tail(const struct transcript *part, const struct transcript *whole)
{
    assert_true(part->from >= whole->from && part->from <= whole->from + whole->size);
    size_t skipped = (size_t)(part->from - whole->from);

    assert_int_equal(part->size, whole->size - skipped);
    if (part->size == 0)
        return;
    assert_int_equal(memcmp(part->bytes, whole->bytes + skipped, part->size), 0);
    assert_int_equal(memcmp(part->streams, whole->streams + skipped, part->size), 0);
}

void step_run(struct crownest_client *client, const Crownest__V1__CommandSpec *command,
              struct transcript *ret_transcript)
{
    Crownest__V1__RunCommandRequest request = CROWNEST__V1__RUN_COMMAND_REQUEST__INIT;
    Crownest__V1__RunCommandResponse *message;
    struct crownest_command_run_reader *reader;
    struct transcript transcript = {0};
    int result;

    request.command = (Crownest__V1__CommandSpec *)(uintptr_t)command;
    assert_done(crownest_command_run_open(client, &request, NULL, &reader, &error), &error);
    while ((result = crownest_command_run_next(reader, &message, &error)) > 0) {
        transcript_add(&transcript, message->event);
        crownest__v1__run_command_response__free_unpacked(message, NULL);
    }
    assert_done(result, &error);
    crownest_command_run_free(reader);
    assert_non_null(transcript.exited);
    *ret_transcript = transcript;
}

void step_run_shell(struct crownest_client *client, const char *sandbox_id, const char *line,
                    struct transcript *ret_transcript)
{
    Crownest__V1__CommandSpec command = step_shell(sandbox_id, line);

    step_run(client, &command, ret_transcript);
}

void step_do(struct crownest_client *client, const char *sandbox_id, const char *line)
{
    struct transcript transcript;

    step_run_shell(client, sandbox_id, line, &transcript);
    const Crownest__V1__Command *command = transcript.exited->command;

    if (command->exit_cause != CROWNEST__V1__EXIT_CAUSE__EXIT_CAUSE_EXITED ||
        command->exit_code != 0)
        fail_msg("`%s` ended with cause %d, code %d: %.*s", line, (int)command->exit_cause,
                 command->exit_code, (int)transcript.size, (const char *)transcript.bytes);
    transcript_done(&transcript);
}

void step_read_log(struct crownest_client *client, const char *command_id, uint64_t offset,
                   bool follow, struct transcript *ret_transcript)
{
    Crownest__V1__StreamLogsRequest request = CROWNEST__V1__STREAM_LOGS_REQUEST__INIT;
    Crownest__V1__StreamLogsResponse *message;
    struct crownest_command_stream_logs_reader *reader;
    struct transcript transcript = {.from = offset};
    int result;

    request.command_id = STEP_TEXT(command_id);
    request.offset = offset;
    request.follow = follow;
    assert_done(crownest_command_stream_logs_open(client, &request, NULL, &reader, &error), &error);
    while ((result = crownest_command_stream_logs_next(reader, &message, &error)) > 0) {
        transcript_add(&transcript, message->event);
        crownest__v1__stream_logs_response__free_unpacked(message, NULL);
    }
    assert_done(result, &error);
    crownest_command_stream_logs_free(reader);
    *ret_transcript = transcript;
}

/* Health */

struct crownest_stream *step_watch_health(struct crownest_client *client, const char *name)
{
    Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    struct crownest_stream *stream;

    request.service = STEP_TEXT(name);
    assert_done(crownest_stream_open(client, "/grpc.health.v1.Health/Watch", &request.base, NULL,
                                     &stream, &error),
                &error);
    return stream;
}

void step_await_health(struct crownest_stream *stream, bool serving)
{
    Grpc__Health__V1__HealthCheckResponse__ServingStatus status;

    do {
        ProtobufCMessage *message;

        assert_int_equal(crownest_stream_next(stream,
                                              &grpc__health__v1__health_check_response__descriptor,
                                              &message, &error),
                         1);
        status = ((Grpc__Health__V1__HealthCheckResponse *)message)->status;
        protobuf_c_message_free_unpacked(message, NULL);
    } while ((status == GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING) !=
             serving);
}

/* Files */

static void send_data(struct crownest_file_write_writer *writer, const uint8_t *data, size_t size)
{
    for (size_t at = 0; at < size; at += WRITE_CHUNK) {
        Crownest__V1__WriteFileRequest part = CROWNEST__V1__WRITE_FILE_REQUEST__INIT;

        part.part_case = CROWNEST__V1__WRITE_FILE_REQUEST__PART_DATA;
        part.data.data = (uint8_t *)(uintptr_t)(data + at);
        part.data.len = size - at < WRITE_CHUNK ? size - at : WRITE_CHUNK;
        assert_done(crownest_file_write_send(writer, &part, &error), &error);
    }
}

void step_write(struct crownest_client *client, const char *sandbox_id, const char *path,
                const void *data, size_t size)
{
    Crownest__V1__WriteFileRequest first = CROWNEST__V1__WRITE_FILE_REQUEST__INIT;
    Crownest__V1__WriteFileOpen open = CROWNEST__V1__WRITE_FILE_OPEN__INIT;
    Crownest__V1__WriteFileResponse *response;
    struct crownest_file_write_writer *writer;

    open.sandbox_id = STEP_TEXT(sandbox_id);
    open.path = STEP_TEXT(path);
    first.part_case = CROWNEST__V1__WRITE_FILE_REQUEST__PART_OPEN;
    first.open = &open;
    assert_done(crownest_file_write_open(client, NULL, &writer, &error), &error);
    assert_done(crownest_file_write_send(writer, &first, &error), &error);
    send_data(writer, data, size);
    assert_done(crownest_file_write_finish(writer, &response, &error), &error);
    assert_int_equal(response->size_bytes, size);
    crownest__v1__write_file_response__free_unpacked(response, NULL);
    crownest_file_write_free(writer);
}

/* Bytes of a download, in order. */
struct content {
    uint8_t *data;
    size_t size;
};

static void content_add(struct content *content, const ProtobufCBinaryData *data, uint64_t offset)
{
    assert_int_equal(offset, content->size);
    content->data = realloc(content->data, content->size + data->len + 1);
    if (!content->data)
        abort();
    if (data->len > 0)
        memcpy(content->data + content->size, data->data, data->len);
    content->size += data->len;
    content->data[content->size] = '\0';
}

uint8_t *step_read(struct crownest_client *client, const char *sandbox_id, const char *path,
                   size_t *ret_size)
{
    Crownest__V1__ReadFileRequest request = CROWNEST__V1__READ_FILE_REQUEST__INIT;
    Crownest__V1__ReadFileResponse *message;
    struct crownest_file_read_reader *reader;
    struct content content = {0};
    int result;

    request.sandbox_id = STEP_TEXT(sandbox_id);
    request.path = STEP_TEXT(path);
    assert_done(crownest_file_read_open(client, &request, NULL, &reader, &error), &error);
    while ((result = crownest_file_read_next(reader, &message, &error)) > 0) {
        content_add(&content, &message->data, message->offset);
        crownest__v1__read_file_response__free_unpacked(message, NULL);
    }
    assert_done(result, &error);
    crownest_file_read_free(reader);
    *ret_size = content.size;
    return content.data;
}

uint8_t *step_download(struct crownest_client *client, const char *artifact_id, size_t *ret_size)
{
    Crownest__V1__DownloadArtifactRequest request = CROWNEST__V1__DOWNLOAD_ARTIFACT_REQUEST__INIT;
    Crownest__V1__DownloadArtifactResponse *message;
    struct crownest_artifact_download_reader *reader;
    struct content content = {0};
    int result;

    request.artifact_id = STEP_TEXT(artifact_id);
    assert_done(crownest_artifact_download_open(client, &request, NULL, &reader, &error), &error);
    while ((result = crownest_artifact_download_next(reader, &message, &error)) > 0) {
        content_add(&content, &message->data, message->offset);
        crownest__v1__download_artifact_response__free_unpacked(message, NULL);
    }
    assert_done(result, &error);
    crownest_artifact_download_free(reader);
    *ret_size = content.size;
    return content.data;
}
