#include "tests/rpc/leftovers.h"

#include <stdio.h>

#include "bindings/c/crownest_preview.h"
#include "tests/rpc/host_state.h"
#include "tests/rpc/steps.h"

#define PAGE 500
#define SETTLE_MS 5000

static struct crownest_error error;

static size_t count_sandboxes(struct crownest_client *client)
{
    Crownest__V1__ListSandboxesRequest request = CROWNEST__V1__LIST_SANDBOXES_REQUEST__INIT;
    Crownest__V1__ListSandboxesResponse *response;

    request.page_size = PAGE;
    assert_done(crownest_sandbox_list(client, &request, NULL, &response, &error), &error);
    size_t count = response->n_sandboxes;

    crownest__v1__list_sandboxes_response__free_unpacked(response, NULL);
    return count;
}

static size_t count_commands(struct crownest_client *client, const char *sandbox_id)
{
    Crownest__V1__ListCommandsRequest request = CROWNEST__V1__LIST_COMMANDS_REQUEST__INIT;
    Crownest__V1__ListCommandsResponse *response;

    request.page_size = PAGE;
    request.sandbox_id = STEP_TEXT(sandbox_id);
    assert_done(crownest_command_list(client, &request, NULL, &response, &error), &error);
    size_t count = response->n_commands;

    crownest__v1__list_commands_response__free_unpacked(response, NULL);
    return count;
}

static size_t count_artifacts(struct crownest_client *client)
{
    Crownest__V1__ListArtifactsRequest request = CROWNEST__V1__LIST_ARTIFACTS_REQUEST__INIT;
    Crownest__V1__ListArtifactsResponse *response;

    request.page_size = PAGE;
    assert_done(crownest_artifact_list(client, &request, NULL, &response, &error), &error);
    size_t count = response->n_artifacts;

    crownest__v1__list_artifacts_response__free_unpacked(response, NULL);
    return count;
}

static size_t count_previews(struct crownest_client *client)
{
    Crownest__V1__ListPreviewsRequest request = CROWNEST__V1__LIST_PREVIEWS_REQUEST__INIT;
    Crownest__V1__ListPreviewsResponse *response;

    request.page_size = PAGE;
    assert_done(crownest_preview_list(client, &request, NULL, &response, &error), &error);
    size_t count = response->n_previews;

    crownest__v1__list_previews_response__free_unpacked(response, NULL);
    return count;
}

static size_t count_workspace(struct crownest_client *client, const char *sandbox_id)
{
    Crownest__V1__ListFilesRequest request = CROWNEST__V1__LIST_FILES_REQUEST__INIT;
    Crownest__V1__ListFilesResponse *response;

    request.sandbox_id = STEP_TEXT(sandbox_id);
    assert_done(crownest_file_list(client, &request, NULL, &response, &error), &error);
    size_t count = response->n_entries;

    crownest__v1__list_files_response__free_unpacked(response, NULL);
    return count;
}

/* A worker of nest-init may still be going after its answer came. */
static size_t count_processes(const void *sandbox_id)
{
    return host_processes_of(sandbox_id);
}

struct leftovers leftovers_count(const struct service *service, const char *sandbox_id)
{
    char logs[SERVICE_PATH_SIZE];
    char blobs[SERVICE_PATH_SIZE];

    (void)snprintf(logs, sizeof(logs), "%s/server/data/logs", service->dir);
    (void)snprintf(blobs, sizeof(blobs), "%s/server/data/blobs", service->dir);
    return (struct leftovers){
        .sandboxes = count_sandboxes(service->client),
        .commands = count_commands(service->client, sandbox_id),
        .artifacts = count_artifacts(service->client),
        .previews = count_previews(service->client),
        .log_files = host_files(logs),
        .blob_files = host_files(blobs),
        .workspace_files = count_workspace(service->client, sandbox_id),
        .processes = host_settle(count_processes, sandbox_id, 0, HOST_IDLE_PROCESSES, SETTLE_MS)};
}

static void assert_same(size_t before, size_t after, const char *kind, const char *what)
{
    if (before != after)
        fail_msg("%s: %zu %s before, %zu after", what, before, kind, after);
}

void assert_nothing_left(const struct service *service, const char *sandbox_id,
                         const struct leftovers *before, const char *what)
{
    struct leftovers after = leftovers_count(service, sandbox_id);

    assert_same(before->sandboxes, after.sandboxes, "sandboxes", what);
    assert_same(before->commands, after.commands, "commands", what);
    assert_same(before->artifacts, after.artifacts, "artifacts", what);
    assert_same(before->previews, after.previews, "previews", what);
    assert_same(before->log_files, after.log_files, "files of logs", what);
    assert_same(before->blob_files, after.blob_files, "files of artifacts", what);
    assert_same(before->workspace_files, after.workspace_files, "files in /workspace", what);
    assert_same(before->processes, after.processes, "processes", what);
}
