#include <pthread.h>

#include "server/plan/plan.h"
#include "server/service/once.h"
#include "server/store/record.h"
#include "server/util/cleanup.h"

static struct status put(struct rpc_call *call, const struct answer *answer, const void *asked,
                         void *ret_response)
{
    const Crownest__V1__PutPlansRequest *request = asked;
    Crownest__V1__PutPlansResponse *response = ret_response;

    struct service *service = service_of(call);
    struct store_batch *batch = store_batch_new();

    lock_scope(&service_projects_changing);
    struct status status = plans_put(service->store, request->plans, request->n_plans, batch);

    if (!status_is_ok(&status)) {
        store_batch_free(batch);
        return status;
    }
    struct audit_actor by = service_actor(call);

    for (size_t i = 0; i < request->n_plans; i++)
        audit_add(batch, &(struct audit_entry){.actor = &by,
                                               .action = "plan.put",
                                               .resource_id = request->plans[i]->name});
    response->plans = request->plans;
    response->n_plans = request->n_plans;
    answer_keep(answer, batch, &response->base);
    status = record_commit(service->store, batch);
    quotas_renew(service->quotas);
    sandboxes_heed_plans(service->sandboxes);
    return status;
}

struct status service_plan_put(struct rpc_call *call, const Crownest__V1__PutPlansRequest *request,
                               Crownest__V1__PutPlansResponse *response)
{
    return service_once(call, request->request_id, request, response, put);
}

struct status service_plan_get(struct rpc_call *call, const Crownest__V1__GetPlanRequest *request,
                               Crownest__V1__GetPlanResponse *response)
{
    return plan_get(service_of(call)->store, request->name, rpc_call_arena(call), &response->plan);
}

struct status service_plan_list(struct rpc_call *call,
                                const Crownest__V1__ListPlansRequest *request,
                                Crownest__V1__ListPlansResponse *response)
{
    (void)request;
    if (plans_list(service_of(call)->store, rpc_call_arena(call), &response->plans,
                   &response->n_plans) < 0)
        return status_unavailable("STORE_FAILED", "the database cannot be read");
    return STATUS_OK_VALUE;
}

struct status service_plan_delete(struct rpc_call *call,
                                  const Crownest__V1__DeletePlanRequest *request,
                                  Crownest__V1__DeletePlanResponse *response)
{
    struct service *service = service_of(call);
    struct store_batch *batch = store_batch_new();

    lock_scope(&service_projects_changing);
    struct status status =
        plan_delete(service->store, request->name, rpc_call_arena(call), batch, &response->plan);

    if (status_is_ok(&status)) {
        struct audit_actor by = service_actor(call);

        audit_add(batch, &(struct audit_entry){
                             .actor = &by, .action = "plan.delete", .resource_id = request->name});
        status = record_commit(service->store, batch);
    } else {
        store_batch_free(batch);
    }
    quotas_renew(service->quotas);
    sandboxes_heed_plans(service->sandboxes);
    return status;
}
