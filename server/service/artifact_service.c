#include <errno.h>

#include "server/artifact/collect.h"
#include "server/service/allowance.h"
#include "server/service/fd_stream.h"
#include "server/service/page.h"
#include "server/service/service.h"
#include "server/util/failpoint.h"

static struct status read_artifact(struct rpc_call *call, const char *id,
                                   Crownest__V1__Artifact **ret_artifact)
{
    return artifact_get(&service_of(call)->artifacts, rpc_call_caller(call)->project_id, id,
                        rpc_call_arena(call), ret_artifact);
}

static struct status collect(struct rpc_call *call, const struct answer *answer,
                             const Crownest__V1__CollectArtifactsRequest *request,
                             struct sandbox *sandbox,
                             Crownest__V1__CollectArtifactsResponse *response)
{
    struct service *service = service_of(call);
    struct collect_options options = {.nest = sandbox_nest(sandbox),
                                      .blobs = service->blobs,
                                      .quotas = service->quotas,
                                      .items = request->items,
                                      .item_count = request->n_items,
                                      .field = "items",
                                      .project_id = sandbox_project(sandbox),
                                      .sandbox_id = sandbox_id(sandbox),
                                      .command_id = ""};
    struct collect_result result;
    struct status status = collect_all(&options, rpc_call_arena(call), &result);

    if (!status_is_ok(&status))
        return status;
    struct audit_actor by = service_actor(call);
    struct store_batch *batch = store_batch_new();

    FAILPOINT("artifact.collected");
    response->artifacts = result.artifacts;
    response->n_artifacts = result.artifact_count;
    collect_record(batch, &result, &by);
    answer_keep(answer, batch, &response->base);
    status = record_commit(service->store, batch);
    if (status_is_ok(&status))
        sandbox_count(sandbox, (struct meter_bytes){.artifact = collect_bytes(&result)});
    collect_settle(&options, &result, status_is_ok(&status));
    return status;
}

struct status service_artifact_collect(struct rpc_call *call,
                                       const Crownest__V1__CollectArtifactsRequest *request,
                                       Crownest__V1__CollectArtifactsResponse *response)
{
    struct service *service = service_of(call);
    struct sandbox *sandbox = NULL;
    struct answer answer;
    struct status status = collect_check(request->items, request->n_items, "items");

    if (status_is_ok(&status) && request->n_items == 0)
        status = status_invalid("items", "COLLECT_EMPTY", "name at least one path to collect");
    if (status_is_ok(&status))
        status = answer_begin(service->answers, call, request->request_id, &answer);
    if (!status_is_ok(&status))
        return status;
    if (answer.kept)
        status = answer_again(&answer, rpc_call_arena(call), response);
    else
        status = allowance_artifacts(call);
    if (status_is_ok(&status) && !answer.kept)
        status = sandboxes_running(service->sandboxes, rpc_call_caller(call)->project_id,
                                   request->sandbox_id, &sandbox);
    if (sandbox)
        status = collect(call, &answer, request, sandbox, response);
    sandbox_unref(sandbox);
    answer_end(&answer);
    allowance_tell(call, QUOTA_ARTIFACT_BYTES);
    return status;
}

struct status service_artifact_delete(struct rpc_call *call,
                                      const Crownest__V1__DeleteArtifactRequest *request,
                                      Crownest__V1__DeleteArtifactResponse *response)
{
    struct audit_actor by = service_actor(call);

    return artifact_remove(&service_of(call)->artifacts, rpc_call_caller(call)->project_id,
                           request->artifact_id, &by, rpc_call_arena(call), &response->artifact);
}

struct status service_artifact_get(struct rpc_call *call,
                                   const Crownest__V1__GetArtifactRequest *request,
                                   Crownest__V1__GetArtifactResponse *response)
{
    return read_artifact(call, request->artifact_id, &response->artifact);
}

struct status service_artifact_list(struct rpc_call *call,
                                    const Crownest__V1__ListArtifactsRequest *request,
                                    Crownest__V1__ListArtifactsResponse *response)
{
    const char *project_id = rpc_call_caller(call)->project_id;
    const char *sandbox_id = request->sandbox_id;
    struct page page;
    struct status status = page_init(&page, call, request->page_size, request->page_token, "art_");

    if (!status_is_ok(&status))
        return status;
    if (sandbox_id[0] && !id_valid("sbx_", sandbox_id))
        return status_invalid("sandbox_id", "ID_INVALID", "this is no sandbox's id");
    page.range.prefix = sandbox_id[0] ? schema_key("as", project_id, sandbox_id, "")
                                      : schema_key("a", project_id, "", NULL);
    page.type = sandbox_id[0] ? NULL : &crownest__v1__artifact__descriptor;
    status = page_read(&page, service_of(call)->store, &response->next_page_token);
    response->artifacts = (Crownest__V1__Artifact **)page.items;
    response->n_artifacts = page.count;
    for (size_t i = 0; !page.type && i < page.count && status_is_ok(&status); i++)
        status = read_artifact(call, page.items[i], &response->artifacts[i]);
    return status;
}

static struct status download_open(struct rpc_call *call, const void *request, void **ret_state)
{
    const Crownest__V1__DownloadArtifactRequest *asked = request;
    Crownest__V1__Artifact *artifact;
    struct fd_stream *stream;
    struct status status = read_artifact(call, asked->artifact_id, &artifact);

    if (!status_is_ok(&status))
        return status;
    int fd = blob_open(service_of(call)->blobs, artifact->digest);

    if (fd < 0)
        return status_error(STATUS_DATA_LOSS, "ARTIFACT_LOST", "its content is not there any more");
    status = fd_stream_new(fd, asked->offset, &stream);
    if (status_is_ok(&status))
        *ret_state = stream;
    return status;
}

static enum rpc_pull download_pull(struct rpc_call *call, void *state, void *response,
                                   struct status *ret_status)
{
    Crownest__V1__DownloadArtifactResponse *message = response;

    return fd_stream_pull(state, rpc_call_arena(call), &message->data, &message->offset,
                          ret_status);
}

const struct rpc_server_stream_ops service_artifact_download = {
    .open = download_open, .pull = download_pull, .close = fd_stream_free};
