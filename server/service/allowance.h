/*
 * What the plan of the caller's project says of a request, beside what is counted where it happens
 * (server/plan/quota.h), and what is left of it, for the client, in the metadata of the answer.
 */
#pragma once

#include "server/plan/quota.h"
#include "server/rpc/rpc.h"
#include "server/service/service.h"

/* FAILED_PRECONDITION FEATURE_NOT_IN_PLAN. */
struct status allowance_artifacts(struct rpc_call *call);
struct status allowance_previews(struct rpc_call *call);
struct status allowance_webhooks(struct rpc_call *call);

/*
 * RESOURCE_EXHAUSTED QUOTA_TTL when a life of so long is too long; where none was asked for, the
 * plan's takes the place of a longer default.
 */
struct status allowance_ttl(const struct rpc_call *call, const struct plan *plan, bool asked,
                            uint64_t *ttl_ms);
/* Of one that was created so long ago. */
struct status allowance_more_ttl(const struct rpc_call *call, uint64_t age_ms, uint64_t ttl_ms);

/* x-crownest-remaining-…, unless the plan has no bound of the kind. */
void allowance_tell(struct rpc_call *call, enum quota_kind kind);
void allowance_tell_creates(struct rpc_call *call);
void allowance_tell_number(struct rpc_call *call, const char *name, uint64_t left);
