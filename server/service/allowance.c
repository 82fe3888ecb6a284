#include "server/service/allowance.h"

#include <inttypes.h>
#include <stdio.h>

static struct status plan_here(const struct rpc_call *call, struct plan *ret_plan)
{
    return quota_plan(service_of(call)->quotas, rpc_call_caller(call)->project_id, ret_plan);
}

struct status allowance_artifacts(struct rpc_call *call)
{
    struct plan plan;
    struct status status = plan_here(call, &plan);

    if (status_is_ok(&status) && !plan.artifacts)
        status = quota_no_feature(rpc_call_caller(call)->project_id, &plan, "artifacts");
    return status;
}

struct status allowance_webhooks(struct rpc_call *call)
{
    struct plan plan;
    struct status status = plan_here(call, &plan);

    if (status_is_ok(&status) && !plan.webhooks)
        status = quota_no_feature(rpc_call_caller(call)->project_id, &plan, "webhooks");
    return status;
}

struct status allowance_previews(struct rpc_call *call)
{
    struct plan plan;
    struct status status = plan_here(call, &plan);

    if (status_is_ok(&status) && !plan.previews)
        status = quota_no_feature(rpc_call_caller(call)->project_id, &plan, "previews");
    return status;
}

static struct status too_long(const struct rpc_call *call, const struct plan *plan, uint64_t used_s)
{
    return status_at(quota_refusal(rpc_call_caller(call)->project_id, plan, "QUOTA_TTL",
                                   "seconds of a sandbox's life", plan->max_ttl_ms / 1000, used_s),
                     "ttl");
}

struct status allowance_ttl(const struct rpc_call *call, const struct plan *plan, bool asked,
                            uint64_t *ttl_ms)
{
    if (plan->max_ttl_ms == 0 || *ttl_ms <= plan->max_ttl_ms)
        return STATUS_OK_VALUE;
    if (asked)
        return too_long(call, plan, 0);
    *ttl_ms = plan->max_ttl_ms;
    return STATUS_OK_VALUE;
}

struct status allowance_more_ttl(const struct rpc_call *call, uint64_t age_ms, uint64_t ttl_ms)
{
    struct plan plan;
    struct status status = plan_here(call, &plan);

    if (status_is_ok(&status) && plan.max_ttl_ms > 0 && age_ms + ttl_ms > plan.max_ttl_ms)
        status = too_long(call, &plan, age_ms / 1000);
    return status;
}

void allowance_tell_number(struct rpc_call *call, const char *name, uint64_t left)
{
    char text[24];

    if (left == QUOTA_UNBOUNDED)
        return;
    (void)snprintf(text, sizeof(text), "%" PRIu64, left);
    rpc_call_set_metadata(call, name, text);
}

void allowance_tell(struct rpc_call *call, enum quota_kind kind)
{
    static const char *const names[QUOTA_KINDS] = {
        [QUOTA_SANDBOXES] = "x-crownest-remaining-sandboxes",
        [QUOTA_MEMORY] = "x-crownest-remaining-memory-bytes",
        [QUOTA_CPU] = "x-crownest-remaining-cpu-millis",
        [QUOTA_COMMANDS] = "x-crownest-remaining-commands",
        [QUOTA_ARTIFACT_BYTES] = "x-crownest-remaining-artifact-bytes",
    };

    allowance_tell_number(
        call, names[kind],
        quota_left(service_of(call)->quotas, rpc_call_caller(call)->project_id, kind));
}

void allowance_tell_creates(struct rpc_call *call)
{
    allowance_tell_number(
        call, "x-crownest-remaining-creates",
        quota_creates_left(service_of(call)->quotas, rpc_call_caller(call)->project_id));
}
