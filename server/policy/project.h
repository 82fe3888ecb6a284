/* Projects: the tenant boundary. Functions may be called from any thread. */
#pragma once

#include "crownest/v1/project.pb-c.h"
#include "server/store/store.h"
#include "server/util/arena.h"
#include "server/util/id.h"
#include "server/util/status.h"

#define PROJECT_DEFAULT "default"

/* Makes the project named `default` if there is none. */
int project_ensure_default(struct store *store);

/* What to make of a project; what it refers to lives as long as the project made of it. */
struct project_change {
    const char *plan; /* empty: as it is; `self-hosted`: none */
    /* NULL: as it is */
    Google__Protobuf__Duration *log_retention;
    Google__Protobuf__Duration *artifact_retention;
    Google__Protobuf__Duration *tombstone_retention;
};

/*
 * Adds a new project to the batch; INVALID_ARGUMENT PROJECT_NAME_INVALID and
 * <KIND>_RETENTION_INVALID, NOT_FOUND PLAN_NOT_FOUND, RESOURCE_EXHAUSTED QUOTA_RETENTION when a
 * retention is longer than the plan's, ALREADY_EXISTS.
 */
struct status project_create(struct store *store, const char *name,
                             const struct project_change *change, struct arena *arena,
                             struct store_batch *batch, Crownest__V1__Project **ret_project);

/*
 * Adds the changed project to the batch; the same errors, and NOT_FOUND PROJECT_NOT_FOUND. Two
 * changes of one project, or of plans, must not overlap.
 */
struct status project_update(struct store *store, const char *name_or_id,
                             const struct project_change *change, struct arena *arena,
                             struct store_batch *batch, Crownest__V1__Project **ret_project);

/* name_or_id: empty means `default`. NOT_FOUND PROJECT_NOT_FOUND. */
struct status project_resolve(struct store *store, const char *name_or_id, char ret_id[ID_SIZE]);
