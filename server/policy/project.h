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

/*
 * Adds a new project to the batch; INVALID_ARGUMENT PROJECT_NAME_INVALID, LOG_RETENTION_INVALID,
 * ALREADY_EXISTS. log_retention: NULL for the default. The project refers to it.
 */
struct status project_create(struct store *store, const char *name,
                             Google__Protobuf__Duration *log_retention, struct arena *arena,
                             struct store_batch *batch, Crownest__V1__Project **ret_project);

/*
 * Adds the changed project to the batch; NOT_FOUND PROJECT_NOT_FOUND, INVALID_ARGUMENT
 * LOG_RETENTION_INVALID. log_retention: NULL leaves it. Two changes of one project must not
 * overlap.
 */
struct status project_update(struct store *store, const char *name_or_id,
                             Google__Protobuf__Duration *log_retention, struct arena *arena,
                             struct store_batch *batch, Crownest__V1__Project **ret_project);

/* name_or_id: empty means `default`. NOT_FOUND PROJECT_NOT_FOUND. */
struct status project_resolve(struct store *store, const char *name_or_id, char ret_id[ID_SIZE]);
