/*
 * Ids that lead nowhere. One of another project is answered exactly as one that was never given
 * out, and what it names is not touched.
 */
#include <stdio.h>
#include <string.h>

#include "bindings/c/crownest_preview.h"
#include "tests/rpc/leftovers.h"
#include "tests/rpc/service_fixture.h"
#include "tests/rpc/steps.h"

enum kind { SANDBOX, COMMAND, PREVIEW, ARTIFACT, KINDS };

static const char *const unknown_ids[KINDS] = {
    "sbx_01h455vb4pex5vsknk084sn02q", "cmd_01h455vb4pex5vsknk084sn02q",
    "prv_01h455vb4pex5vsknk084sn02q", "art_01h455vb4pex5vsknk084sn02q"};

static int sandbox_get(struct crownest_client *client, char *id, struct crownest_error *error)
{
    Crownest__V1__GetSandboxRequest request = CROWNEST__V1__GET_SANDBOX_REQUEST__INIT;
    Crownest__V1__GetSandboxResponse *response;

    request.sandbox_id = id;
    return crownest_sandbox_get(client, &request, NULL, &response, error);
}

static int sandbox_kill(struct crownest_client *client, char *id, struct crownest_error *error)
{
    Crownest__V1__KillSandboxRequest request = CROWNEST__V1__KILL_SANDBOX_REQUEST__INIT;
    Crownest__V1__KillSandboxResponse *response;

    request.sandbox_id = id;
    return crownest_sandbox_kill(client, &request, NULL, &response, error);
}

static int command_start(struct crownest_client *client, char *id, struct crownest_error *error)
{
    Crownest__V1__CommandSpec command = step_shell(id, "true");
    Crownest__V1__StartCommandRequest request = CROWNEST__V1__START_COMMAND_REQUEST__INIT;
    Crownest__V1__StartCommandResponse *response;

    request.command = &command;
    return crownest_command_start(client, &request, NULL, &response, error);
}

static int command_run(struct crownest_client *client, char *id, struct crownest_error *error)
{
    Crownest__V1__CommandSpec command = step_shell(id, "true");
    Crownest__V1__RunCommandRequest request = CROWNEST__V1__RUN_COMMAND_REQUEST__INIT;
    Crownest__V1__RunCommandResponse *message;
    struct crownest_command_run_reader *reader;

    request.command = &command;
    assert_done(crownest_command_run_open(client, &request, NULL, &reader, error), error);
    int result = crownest_command_run_next(reader, &message, error);

    crownest_command_run_free(reader);
    return result;
}

static int command_list(struct crownest_client *client, char *id, struct crownest_error *error)
{
    Crownest__V1__ListCommandsRequest request = CROWNEST__V1__LIST_COMMANDS_REQUEST__INIT;
    Crownest__V1__ListCommandsResponse *response;

    request.sandbox_id = id;
    return crownest_command_list(client, &request, NULL, &response, error);
}

static int command_get(struct crownest_client *client, char *id, struct crownest_error *error)
{
    Crownest__V1__GetCommandRequest request = CROWNEST__V1__GET_COMMAND_REQUEST__INIT;
    Crownest__V1__GetCommandResponse *response;

    request.command_id = id;
    return crownest_command_get(client, &request, NULL, &response, error);
}

static int command_cancel(struct crownest_client *client, char *id, struct crownest_error *error)
{
    Crownest__V1__CancelCommandRequest request = CROWNEST__V1__CANCEL_COMMAND_REQUEST__INIT;
    Crownest__V1__CancelCommandResponse *response;

    request.command_id = id;
    return crownest_command_cancel(client, &request, NULL, &response, error);
}

static int command_logs(struct crownest_client *client, char *id, struct crownest_error *error)
{
    Crownest__V1__StreamLogsRequest request = CROWNEST__V1__STREAM_LOGS_REQUEST__INIT;
    Crownest__V1__StreamLogsResponse *message;
    struct crownest_command_stream_logs_reader *reader;

    request.command_id = id;
    assert_done(crownest_command_stream_logs_open(client, &request, NULL, &reader, error), error);
    int result = crownest_command_stream_logs_next(reader, &message, error);

    crownest_command_stream_logs_free(reader);
    return result;
}

static int file_read(struct crownest_client *client, char *id, struct crownest_error *error)
{
    Crownest__V1__ReadFileRequest request = CROWNEST__V1__READ_FILE_REQUEST__INIT;
    Crownest__V1__ReadFileResponse *message;
    struct crownest_file_read_reader *reader;

    request.sandbox_id = id;
    request.path = STEP_TEXT("/etc/passwd");
    assert_done(crownest_file_read_open(client, &request, NULL, &reader, error), error);
    int result = crownest_file_read_next(reader, &message, error);

    crownest_file_read_free(reader);
    return result;
}

static int file_write(struct crownest_client *client, char *id, struct crownest_error *error)
{
    Crownest__V1__WriteFileRequest request = CROWNEST__V1__WRITE_FILE_REQUEST__INIT;
    Crownest__V1__WriteFileOpen open = CROWNEST__V1__WRITE_FILE_OPEN__INIT;
    Crownest__V1__WriteFileResponse *response;
    struct crownest_file_write_writer *writer;

    open.sandbox_id = id;
    open.path = STEP_TEXT("written");
    request.part_case = CROWNEST__V1__WRITE_FILE_REQUEST__PART_OPEN;
    request.open = &open;
    assert_done(crownest_file_write_open(client, NULL, &writer, error), error);
    int result = crownest_file_write_send(writer, &request, error);

    if (result == 0)
        result = crownest_file_write_finish(writer, &response, error);
    crownest_file_write_free(writer);
    return result;
}

static int file_list(struct crownest_client *client, char *id, struct crownest_error *error)
{
    Crownest__V1__ListFilesRequest request = CROWNEST__V1__LIST_FILES_REQUEST__INIT;
    Crownest__V1__ListFilesResponse *response;

    request.sandbox_id = id;
    return crownest_file_list(client, &request, NULL, &response, error);
}

static int preview_create(struct crownest_client *client, char *id, struct crownest_error *error)
{
    Crownest__V1__CreatePreviewRequest request = CROWNEST__V1__CREATE_PREVIEW_REQUEST__INIT;
    Crownest__V1__CreatePreviewResponse *response;

    request.sandbox_id = id;
    request.port = 8080;
    return crownest_preview_create(client, &request, NULL, &response, error);
}

static int preview_get(struct crownest_client *client, char *id, struct crownest_error *error)
{
    Crownest__V1__GetPreviewRequest request = CROWNEST__V1__GET_PREVIEW_REQUEST__INIT;
    Crownest__V1__GetPreviewResponse *response = NULL;

    request.preview_id = id;
    int result = crownest_preview_get(client, &request, NULL, &response, error);

    crownest__v1__get_preview_response__free_unpacked(response, NULL);
    return result;
}

static int preview_delete(struct crownest_client *client, char *id, struct crownest_error *error)
{
    Crownest__V1__DeletePreviewRequest request = CROWNEST__V1__DELETE_PREVIEW_REQUEST__INIT;
    Crownest__V1__DeletePreviewResponse *response;

    request.preview_id = id;
    return crownest_preview_delete(client, &request, NULL, &response, error);
}

static int artifact_collect(struct crownest_client *client, char *id, struct crownest_error *error)
{
    Crownest__V1__CollectItem item = CROWNEST__V1__COLLECT_ITEM__INIT;
    Crownest__V1__CollectItem *items[] = {&item};
    Crownest__V1__CollectArtifactsRequest request = CROWNEST__V1__COLLECT_ARTIFACTS_REQUEST__INIT;
    Crownest__V1__CollectArtifactsResponse *response;

    item.path = STEP_TEXT("/etc/passwd");
    request.sandbox_id = id;
    request.items = items;
    request.n_items = 1;
    return crownest_artifact_collect(client, &request, NULL, &response, error);
}

static int artifact_get(struct crownest_client *client, char *id, struct crownest_error *error)
{
    Crownest__V1__GetArtifactRequest request = CROWNEST__V1__GET_ARTIFACT_REQUEST__INIT;
    Crownest__V1__GetArtifactResponse *response;

    request.artifact_id = id;
    return crownest_artifact_get(client, &request, NULL, &response, error);
}

static int artifact_load(struct crownest_client *client, char *id, struct crownest_error *error)
{
    Crownest__V1__DownloadArtifactRequest request = CROWNEST__V1__DOWNLOAD_ARTIFACT_REQUEST__INIT;
    Crownest__V1__DownloadArtifactResponse *message;
    struct crownest_artifact_download_reader *reader;

    request.artifact_id = id;
    assert_done(crownest_artifact_download_open(client, &request, NULL, &reader, error), error);
    int result = crownest_artifact_download_next(reader, &message, error);

    crownest_artifact_download_free(reader);
    return result;
}

static const struct method {
    const char *name;
    enum kind kind;
    int (*call)(struct crownest_client *client, char *id, struct crownest_error *error);
    const char *reason;
    const char *field;
} methods[] = {
    {"Sandbox.Get", SANDBOX, sandbox_get, "SANDBOX_NOT_FOUND", "sandbox_id"},
    {"Sandbox.Kill", SANDBOX, sandbox_kill, "SANDBOX_NOT_FOUND", "sandbox_id"},
    {"Command.Start", SANDBOX, command_start, "SANDBOX_NOT_FOUND", "command.sandbox_id"},
    {"Command.Run", SANDBOX, command_run, "SANDBOX_NOT_FOUND", "command.sandbox_id"},
    {"Command.List", SANDBOX, command_list, "SANDBOX_NOT_FOUND", "sandbox_id"},
    {"Command.Get", COMMAND, command_get, "COMMAND_NOT_FOUND", "command_id"},
    {"Command.Cancel", COMMAND, command_cancel, "COMMAND_NOT_FOUND", "command_id"},
    {"Command.StreamLogs", COMMAND, command_logs, "COMMAND_NOT_FOUND", "command_id"},
    {"File.Read", SANDBOX, file_read, "SANDBOX_NOT_FOUND", "sandbox_id"},
    {"File.Write", SANDBOX, file_write, "SANDBOX_NOT_FOUND", "open.sandbox_id"},
    {"File.List", SANDBOX, file_list, "SANDBOX_NOT_FOUND", "sandbox_id"},
    {"Preview.Create", SANDBOX, preview_create, "SANDBOX_NOT_FOUND", "sandbox_id"},
    {"Preview.Get", PREVIEW, preview_get, "PREVIEW_NOT_FOUND", "preview_id"},
    {"Preview.Delete", PREVIEW, preview_delete, "PREVIEW_NOT_FOUND", "preview_id"},
    {"Artifact.Collect", SANDBOX, artifact_collect, "SANDBOX_NOT_FOUND", "sandbox_id"},
    {"Artifact.Get", ARTIFACT, artifact_get, "ARTIFACT_NOT_FOUND", "artifact_id"},
    {"Artifact.Download", ARTIFACT, artifact_load, "ARTIFACT_NOT_FOUND", "artifact_id"},
};
#define METHODS (sizeof(methods) / sizeof(methods[0]))

/* What the other project has, one of each. */
static void make_foreign(struct crownest_client *client, char ids[KINDS][STEP_ID_SIZE])
{
    struct crownest_error error;
    Crownest__V1__CollectItem item = CROWNEST__V1__COLLECT_ITEM__INIT;
    Crownest__V1__CollectItem *items[] = {&item};
    Crownest__V1__CollectArtifactsRequest collect = CROWNEST__V1__COLLECT_ARTIFACTS_REQUEST__INIT;
    Crownest__V1__CollectArtifactsResponse *collected;
    Crownest__V1__CreatePreviewRequest open = CROWNEST__V1__CREATE_PREVIEW_REQUEST__INIT;
    Crownest__V1__CreatePreviewResponse *opened;

    step_create(client, "base", ids[SANDBOX]);
    step_start(client, ids[SANDBOX], "exec sleep 1000", ids[COMMAND]);
    open.sandbox_id = ids[SANDBOX];
    open.port = 8080;
    assert_done(crownest_preview_create(client, &open, NULL, &opened, &error), &error);
    (void)snprintf(ids[PREVIEW], STEP_ID_SIZE, "%s", opened->preview->preview_id);
    crownest__v1__create_preview_response__free_unpacked(opened, NULL);
    item.path = STEP_TEXT("/etc/passwd");
    collect.sandbox_id = ids[SANDBOX];
    collect.items = items;
    collect.n_items = 1;
    assert_done(crownest_artifact_collect(client, &collect, NULL, &collected, &error), &error);
    (void)snprintf(ids[ARTIFACT], STEP_ID_SIZE, "%s", collected->artifacts[0]->artifact_id);
    crownest__v1__collect_artifacts_response__free_unpacked(collected, NULL);
}

/* Everything that the client gets to see but the call's own id. */
static void assert_same_answer(const struct crownest_error *a, const struct crownest_error *b,
                               const char *what)
{
    if (a->code != b->code || a->retryable != b->retryable ||
        a->retry_after_ms != b->retry_after_ms || strcmp(a->reason, b->reason) != 0 ||
        strcmp(a->field, b->field) != 0 || strcmp(a->message, b->message) != 0 ||
        strcmp(a->admitted, b->admitted) != 0)
        fail_msg("%s: `%s` for a foreign id, `%s` for an unknown one", what, a->message,
                 b->message);
}

static void a_foreign_id_is_answered_as_an_unknown_one_and_not_touched(void **state)
{
    struct service *service = service_of(state);
    char foreign[KINDS][STEP_ID_SIZE];
    char own[STEP_ID_SIZE];

    make_foreign(service->other, foreign);
    step_create(service->client, "base", own);
    struct leftovers before = leftovers_count(service, own);

    for (size_t i = 0; i < METHODS; i++) {
        const struct method *m = &methods[i];
        struct crownest_error unknown = {0};
        struct crownest_error other = {0};

        assert_refused_at(m->call(service->client, STEP_TEXT(unknown_ids[m->kind]), &unknown),
                          &unknown, 5, m->reason, m->field, m->name);
        assert_refused_at(m->call(service->client, foreign[m->kind], &other), &other, 5, m->reason,
                          m->field, m->name);
        assert_same_answer(&other, &unknown, m->name);
    }
    assert_nothing_left(service, own, &before, "unknown and foreign ids");
    Crownest__V1__Command *command = step_command(service->other, foreign[COMMAND]);

    assert_null(command->end_time);
    crownest__v1__command__free_unpacked(command, NULL);
    step_do(service->other, foreign[SANDBOX], "test ! -e /workspace/written");
    struct crownest_error error;

    assert_done(preview_get(service->other, foreign[PREVIEW], &error), &error);
    step_kill(service->other, foreign[SANDBOX]);
    step_kill(service->client, own);
}

static void a_malformed_id_is_not_found(void **state)
{
    struct service *service = service_of(state);
    char *bad[] = {STEP_TEXT(""),
                   STEP_TEXT("x"),
                   STEP_TEXT("sbx_"),
                   STEP_TEXT("../../etc/passwd"),
                   STEP_TEXT("sbx_01h455vb4pex5vsknk084sn02qq"),
                   STEP_TEXT("SBX_01H455VB4PEX5VSKNK084SN02Q"),
                   STEP_TEXT("sbx_01h455vb4pex5vsknk084s/02q"),
                   STEP_TEXT("key_01h455vb4pex5vsknk084sn02q")};

    for (size_t i = 0; i < METHODS; i++) {
        for (size_t j = 0; j < sizeof(bad) / sizeof(bad[0]); j++) {
            struct crownest_error error = {0};

            assert_refused_at(methods[i].call(service->client, bad[j], &error), &error, 5,
                              methods[i].reason, methods[i].field, methods[i].name);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_foreign_id_is_answered_as_an_unknown_one_and_not_touched),
        cmocka_unit_test(a_malformed_id_is_not_found),
        cmocka_unit_test(service_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, service_setup, service_teardown);
}
