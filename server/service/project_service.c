#include <pthread.h>

#include "server/policy/project.h"

#include "server/service/once.h"
#include "server/service/page.h"
#include "server/util/cleanup.h"

pthread_mutex_t service_projects_changing = PTHREAD_MUTEX_INITIALIZER;

/* Commits the change with its answer, unless it is refused. */
static struct status end_change(const struct rpc_call *call, const struct answer *answer,
                                struct store_batch *batch, const struct status *status,
                                const ProtobufCMessage *response, const char *action,
                                const Crownest__V1__Project *project)
{
    struct audit_actor by = service_actor(call);

    if (!status_is_ok(status)) {
        store_batch_free(batch);
        return *status;
    }
    audit_add(batch, &(struct audit_entry){.actor = &by,
                                           .action = action,
                                           .resource_id = project->project_id,
                                           .project_id = project->project_id,
                                           .detail = project->name});
    answer_keep(answer, batch, response);
    return record_commit(service_of(call)->store, batch);
}

static struct status create(struct rpc_call *call, const struct answer *answer, const void *asked,
                            void *ret_response)
{
    const Crownest__V1__CreateProjectRequest *request = asked;
    Crownest__V1__CreateProjectResponse *response = ret_response;

    lock_scope(&service_projects_changing);
    struct service *service = service_of(call);
    struct store_batch *batch = store_batch_new();
    struct project_change change = {.plan = request->plan,
                                    .log_retention = request->log_retention,
                                    .artifact_retention = request->artifact_retention,
                                    .tombstone_retention = request->tombstone_retention};
    struct status status = project_create(service->store, request->name, &change,
                                          rpc_call_arena(call), batch, &response->project);

    return end_change(call, answer, batch, &status, &response->base, "project.create",
                      response->project);
}

struct status service_project_create(struct rpc_call *call,
                                     const Crownest__V1__CreateProjectRequest *request,
                                     Crownest__V1__CreateProjectResponse *response)
{
    return service_once(call, request->request_id, request, response, create);
}

static struct status update(struct rpc_call *call, const struct answer *answer, const void *asked,
                            void *ret_response)
{
    const Crownest__V1__UpdateProjectRequest *request = asked;
    Crownest__V1__UpdateProjectResponse *response = ret_response;

    lock_scope(&service_projects_changing);
    struct service *service = service_of(call);
    struct store_batch *batch = store_batch_new();
    struct project_change change = {.plan = request->plan,
                                    .log_retention = request->log_retention,
                                    .artifact_retention = request->artifact_retention,
                                    .tombstone_retention = request->tombstone_retention};
    struct status status = project_update(service->store, request->project, &change,
                                          rpc_call_arena(call), batch, &response->project);

    status = end_change(call, answer, batch, &status, &response->base, "project.update",
                        response->project);
    quotas_renew(service->quotas);
    sandboxes_heed_plans(service->sandboxes);
    return status;
}

struct status service_project_update(struct rpc_call *call,
                                     const Crownest__V1__UpdateProjectRequest *request,
                                     Crownest__V1__UpdateProjectResponse *response)
{
    return service_once(call, request->request_id, request, response, update);
}

struct status service_project_list(struct rpc_call *call,
                                   const Crownest__V1__ListProjectsRequest *request,
                                   Crownest__V1__ListProjectsResponse *response)
{
    struct page page;
    struct status status = page_init(&page, call, request->page_size, request->page_token, "prj_");

    if (!status_is_ok(&status))
        return status;
    page.range.prefix = schema_key("j", "", NULL, NULL);
    page.type = &crownest__v1__project__descriptor;
    status = page_read(&page, service_of(call)->store, &response->next_page_token);
    response->projects = (Crownest__V1__Project **)page.items;
    response->n_projects = page.count;
    return status;
}
