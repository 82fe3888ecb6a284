#include "server/service/allowance.h"
#include "server/service/page.h"
#include "server/service/service.h"

/* Opens the port, or finds what an earlier try of the same request has opened. */
static struct status open_port(struct rpc_call *call, const struct answer *answer,
                               const Crownest__V1__CreatePreviewRequest *request,
                               struct store_batch *batch, Crownest__V1__Preview **ret_preview,
                               char ret_token[SECRET_SIZE])
{
    const struct previews *previews = &service_of(call)->previews;
    const char *project_id = rpc_call_caller(call)->project_id;
    struct arena *arena = rpc_call_arena(call);
    struct sandbox *sandbox;

    if (answer->kept)
        return preview_renew(previews, project_id, answer->kept->resource_id, batch, arena,
                             ret_preview, ret_token);
    struct status status = allowance_previews(call);

    if (status_is_ok(&status))
        status = sandboxes_running(service_of(call)->sandboxes, project_id, request->sandbox_id,
                                   &sandbox);
    if (!status_is_ok(&status))
        return status;
    status = preview_create(previews, sandbox, request->port, batch, arena, ret_preview, ret_token);
    sandbox_unref(sandbox);
    if (status_is_ok(&status))
        answer_keep_id(answer, batch, (*ret_preview)->preview_id);
    return status;
}

struct status service_preview_create(struct rpc_call *call,
                                     const Crownest__V1__CreatePreviewRequest *request,
                                     Crownest__V1__CreatePreviewResponse *response)
{
    struct service *service = service_of(call);
    struct answer answer;
    char token[SECRET_SIZE];

    if (request->port == 0 || request->port > 65535)
        return status_invalid("port", "PORT_INVALID", "a port is from 1 to 65535");
    struct status status = answer_begin(service->answers, call, request->request_id, &answer);

    if (!status_is_ok(&status))
        return status;
    struct store_batch *batch = store_batch_new();

    status = open_port(call, &answer, request, batch, &response->preview, token);
    if (!status_is_ok(&status)) {
        store_batch_free(batch);
    } else {
        struct audit_actor by = service_actor(call);
        struct audit_entry entry =
            preview_entry(response->preview, answer.kept ? "preview.renew" : "preview.create", &by);

        audit_add(batch, &entry);
        status = record_commit(service->store, batch);
    }
    answer_end(&answer);
    if (status_is_ok(&status))
        response->token = arena_strdup(rpc_call_arena(call), token);
    secret_wipe(token, sizeof(token));
    return status;
}

struct status service_preview_get(struct rpc_call *call,
                                  const Crownest__V1__GetPreviewRequest *request,
                                  Crownest__V1__GetPreviewResponse *response)
{
    return preview_get(&service_of(call)->previews, rpc_call_caller(call)->project_id,
                       request->preview_id, rpc_call_arena(call), &response->preview);
}

struct status service_preview_delete(struct rpc_call *call,
                                     const Crownest__V1__DeletePreviewRequest *request,
                                     Crownest__V1__DeletePreviewResponse *response)
{
    struct audit_actor by = service_actor(call);

    return preview_delete(&service_of(call)->previews, rpc_call_caller(call)->project_id,
                          request->preview_id, &by, rpc_call_arena(call), &response->preview);
}

struct status service_preview_list(struct rpc_call *call,
                                   const Crownest__V1__ListPreviewsRequest *request,
                                   Crownest__V1__ListPreviewsResponse *response)
{
    const char *project_id = rpc_call_caller(call)->project_id;
    struct service *service = service_of(call);
    const char *sandbox_id = request->sandbox_id;
    struct page page;
    struct status status = page_init(&page, call, request->page_size, request->page_token, "prv_");

    if (!status_is_ok(&status))
        return status;
    if (sandbox_id[0] && !id_valid("sbx_", sandbox_id))
        return status_invalid("sandbox_id", "ID_INVALID", "this is no sandbox's id");
    page.range.prefix = sandbox_id[0] ? schema_key("ps", project_id, sandbox_id, "")
                                      : schema_key("p", project_id, "", NULL);
    page.type = sandbox_id[0] ? NULL : &crownest__records__preview_record__descriptor;
    status = page_read(&page, service->store, &response->next_page_token);
    response->previews = (Crownest__V1__Preview **)page.items;
    for (size_t i = 0; i < page.count && status_is_ok(&status); i++) {
        if (page.type)
            response->previews[i] = ((Crownest__Records__PreviewRecord *)page.items[i])->preview;
        else
            status = preview_get(&service->previews, project_id, page.items[i],
                                 rpc_call_arena(call), &response->previews[i]);
        response->n_previews = i + 1;
    }
    return status;
}
