/*
 * Plans: what a project may use at most. They are data of the operator's; a project names its own.
 * Functions may be called from any thread; those that change plans or the plan of a project must
 * not overlap each other.
 */
#pragma once

#include "crownest/v1/plan.pb-c.h"
#include "crownest/v1/project.pb-c.h"
#include "server/store/store.h"
#include "server/util/arena.h"
#include "server/util/status.h"

#define PLAN_SELF_HOSTED "self-hosted"
#define PLAN_NAME_SIZE 41

/* A plan as it is asked: numbers, of which 0 is no bound but the host's. */
struct plan {
    char name[PLAN_NAME_SIZE];
    uint32_t max_sandboxes;
    uint64_t max_ttl_ms;
    uint64_t max_memory_bytes; /* of one sandbox, as the next three are */
    uint32_t max_cpu_millis;
    uint32_t max_processes;
    uint64_t max_disk_bytes;
    uint64_t max_total_memory_bytes; /* of all that live */
    uint64_t max_total_cpu_millis;
    uint32_t creates_per_minute;
    uint32_t calls_per_second;
    uint32_t max_commands;
    uint64_t max_artifact_bytes;
    uint64_t max_log_retention_ms;
    uint64_t max_artifact_retention_ms;
    uint64_t max_tombstone_retention_ms;
    uint32_t max_keys;
    uint64_t included_unit_seconds; /* of a calendar month */
    bool artifacts;
    bool metered_overage; /* work goes on beyond what is included, and is billed */
    bool project_keys;
    bool webhooks;
    bool previews;
};

bool plan_name_valid(const char *name);

/*
 * Adds the plans to the batch, all of them, or says which field of which is wrong: INVALID_ARGUMENT
 * PLANS_INVALID, PLAN_INVALID; RESOURCE_EXHAUSTED PLAN_LIMIT.
 */
struct status plans_put(struct store *store, Crownest__V1__Plan *const *plans, size_t count,
                        struct store_batch *batch);

/* NOT_FOUND PLAN_NOT_FOUND. name: empty means the built-in plan. */
struct status plan_get(struct store *store, const char *name, struct arena *arena,
                       Crownest__V1__Plan **ret_plan);

/* Those that were put, by name; in the arena. Returns 0 or -EIO. */
int plans_list(struct store *store, struct arena *arena, Crownest__V1__Plan ***ret_plans,
               size_t *ret_count);

/* Adds the deletion to the batch. NOT_FOUND PLAN_NOT_FOUND, FAILED_PRECONDITION PLAN_IN_USE. */
struct status plan_delete(struct store *store, const char *name, struct arena *arena,
                          struct store_batch *batch, Crownest__V1__Plan **ret_plan);

/*
 * The plan of a project, read from the database; quota_plan remembers it. UNAVAILABLE STORE_FAILED
 * when that cannot be done: nobody is without bounds for want of knowledge.
 */
struct status plan_of(struct store *store, const char *project_id, struct plan *ret_plan);

/* How long what a project leaves behind is kept: what it asks for, or the default, or its plan's.
 */
uint64_t plan_log_retention_ms(const struct plan *plan, const Crownest__V1__Project *project);
uint64_t plan_artifact_retention_ms(const struct plan *plan, const Crownest__V1__Project *project);
uint64_t plan_tombstone_retention_ms(const struct plan *plan, const Crownest__V1__Project *project);
