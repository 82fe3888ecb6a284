/* How many keys a project's plan allows. */
#pragma once

#include "server/plan/quota.h"
#include "server/store/store.h"

/*
 * Whether one more key may be tied to the project: RESOURCE_EXHAUSTED QUOTA_KEYS. Revoked and
 * expired ones do not count. ret_left: how many after it, or QUOTA_UNBOUNDED. Two minters must not
 * overlap.
 */
struct status key_quota_check(struct store *store, struct quotas *quotas, const char *project_id,
                              uint64_t *ret_left);
