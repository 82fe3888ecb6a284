/*
 * What projects have, against what their plans allow: one account for each project, in memory, from
 * the first time that it is asked for. What is being made counts from before it is begun. Nothing
 * of it is stored: whoever finds a thing of an earlier process adds it again.
 *
 * Functions may be called from any thread; NULL in place of the quotas is a host without bounds.
 */
#pragma once

#include "server/plan/plan.h"

struct quotas;

/* The store outlives it. */
struct quotas *quotas_new(struct store *store);
void quotas_free(struct quotas *quotas);

/* Plans, or what projects name, have changed: after the commit. */
void quotas_renew(struct quotas *quotas);

/* As plan_of, from memory where it is there. */
struct status quota_plan(struct quotas *quotas, const char *project_id, struct plan *ret_plan);

enum quota_kind {
    QUOTA_SANDBOXES,
    QUOTA_MEMORY, /* bytes, of all living sandboxes */
    QUOTA_CPU,    /* thousandths */
    QUOTA_COMMANDS,
    QUOTA_ARTIFACT_BYTES,
    QUOTA_KINDS
};

struct quota_amounts {
    uint64_t of[QUOTA_KINDS];
};

/*
 * Takes all of it or none: RESOURCE_EXHAUSTED QUOTA_SANDBOXES, QUOTA_TOTAL_MEMORY,
 * QUOTA_TOTAL_CPU, QUOTA_COMMANDS, QUOTA_ARTIFACT_BYTES. quota_give must follow, when it is no
 * more.
 */
struct status quota_take(struct quotas *quotas, const char *project_id,
                         const struct quota_amounts *amounts);
/* Without asking: of what is there already. */
void quota_add(struct quotas *quotas, const char *project_id, const struct quota_amounts *amounts);
void quota_give(struct quotas *quotas, const char *project_id, const struct quota_amounts *amounts);

#define QUOTA_UNBOUNDED UINT64_MAX

/* What is left of a kind; QUOTA_UNBOUNDED where the plan has no bound, or cannot be read. */
uint64_t quota_left(struct quotas *quotas, const char *project_id, enum quota_kind kind);

/*
 * Counts an attempt to create a sandbox, or a call: RESOURCE_EXHAUSTED QUOTA_CREATE_RATE,
 * QUOTA_CALL_RATE, retryable after what they say.
 */
struct status quota_take_create(struct quotas *quotas, const char *project_id);
struct status quota_take_call(struct quotas *quotas, const char *project_id);
/* The attempt was refused for another reason of the plan. */
void quota_give_create(struct quotas *quotas, const char *project_id);
uint64_t quota_creates_left(struct quotas *quotas, const char *project_id);

/*
 * The refusal at a bound of a plan, where the caller counts itself; reason and metric must be
 * literals.
 */
struct status quota_refusal(const char *project_id, const struct plan *plan, const char *reason,
                            const char *metric, uint64_t limit, uint64_t used);
/* FAILED_PRECONDITION FEATURE_NOT_IN_PLAN. feature: a literal. */
struct status quota_no_feature(const char *project_id, const struct plan *plan,
                               const char *feature);
