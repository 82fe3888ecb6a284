#include "server/policy/project.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "server/audit/audit.h"
#include "server/plan/plan.h"
#include "server/store/record.h"
#include "server/util/clock.h"
#include "server/util/limits.h"
#include "server/util/prototime.h"

#define NAME_MAX_SIZE 40
#define RETENTION_MIN_MS 1000

static bool name_valid(const char *name)
{
    size_t size = strlen(name);

    return size > 0 && size <= NAME_MAX_SIZE && name[0] >= 'a' && name[0] <= 'z' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == size;
}

/* One of the three retentions, of a change or of its project. */
struct retention {
    const char *field;
    const char *reason;
    Google__Protobuf__Duration *asked;
    Google__Protobuf__Duration **kept;
    const Google__Protobuf__Duration *plan_max;
};

static struct status check_retention(const struct retention *retention,
                                     const Crownest__V1__Project *project,
                                     const Crownest__V1__Plan *plan)
{
    uint64_t max_ms = UINT64_MAX;
    uint64_t ms;

    if (!retention->asked)
        return STATUS_OK_VALUE;
    if (protoduration_ms(retention->asked, LIMIT_RETENTION_S * 1000ULL, &ms) < 0 ||
        ms < RETENTION_MIN_MS)
        return status_invalid(retention->field, retention->reason, "%s is from 1 to %d seconds",
                              retention->field, LIMIT_RETENTION_S);
    if (retention->plan_max)
        (void)protoduration_ms(retention->plan_max, UINT64_MAX, &max_ms);
    if (ms <= max_ms)
        return STATUS_OK_VALUE;
    struct status_quota quota = {
        .metric = "seconds of retention", .limit = max_ms / 1000, .used = 0};

    (void)snprintf(quota.subject, sizeof(quota.subject), "project:%s", project->project_id);
    return status_at(status_quota("QUOTA_RETENTION", &quota,
                                  "the plan `%.40s` allows %llu seconds of it; give the project "
                                  "another plan, or raise it with crownest plans apply",
                                  plan->name, (unsigned long long)max_ms / 1000),
                     retention->field);
}

/* Checks all of it before any of it is written into the project. */
static struct status apply(struct store *store, const struct project_change *change,
                           struct arena *arena, Crownest__V1__Project *project)
{
    Crownest__V1__Plan *plan;
    struct status status =
        plan_get(store, change->plan[0] ? change->plan : project->plan, arena, &plan);

    if (!status_is_ok(&status))
        return status_at(status, "plan");
    const struct retention retentions[] = {
        {"log_retention", "LOG_RETENTION_INVALID", change->log_retention, &project->log_retention,
         plan->max_log_retention},
        {"artifact_retention", "ARTIFACT_RETENTION_INVALID", change->artifact_retention,
         &project->artifact_retention, plan->max_artifact_retention},
        {"tombstone_retention", "TOMBSTONE_RETENTION_INVALID", change->tombstone_retention,
         &project->tombstone_retention, plan->max_tombstone_retention},
    };
    size_t count = sizeof(retentions) / sizeof(*retentions);

    for (size_t i = 0; i < count && status_is_ok(&status); i++)
        status = check_retention(&retentions[i], project, plan);
    for (size_t i = 0; i < count && status_is_ok(&status); i++) {
        if (retentions[i].asked)
            *retentions[i].kept = retentions[i].asked;
    }
    if (status_is_ok(&status) && change->plan[0])
        project->plan =
            arena_strdup(arena, strcmp(plan->name, PLAN_SELF_HOSTED) == 0 ? "" : plan->name);
    return status;
}

struct status project_create(struct store *store, const char *name,
                             const struct project_change *change, struct arena *arena,
                             struct store_batch *batch, Crownest__V1__Project **ret_project)
{
    char id[ID_SIZE];

    if (!name_valid(name))
        return status_invalid("name", "PROJECT_NAME_INVALID",
                              "a project's name is [a-z][a-z0-9-]*, at most %d characters",
                              NAME_MAX_SIZE);
    struct schema_key by_name = schema_key("jn", name, NULL, NULL);

    if (record_get_string(store, &by_name, id, sizeof(id)) == 0)
        return status_at(status_error(STATUS_ALREADY_EXISTS, "PROJECT_EXISTS",
                                      "there is a project named %s", name),
                         "name");
    Crownest__V1__Project *project = arena_alloc(arena, sizeof(*project));

    id_make("prj_", id);
    crownest__v1__project__init(project);
    project->project_id = arena_strdup(arena, id);
    project->name = arena_strdup(arena, name);
    project->create_time = prototime_from_us(arena, clock_wall_us());
    struct schema_key key = schema_key("j", id, NULL, NULL);
    struct status status = apply(store, change, arena, project);

    if (!status_is_ok(&status))
        return status;
    record_put(batch, &key, &project->base);
    record_put_string(batch, &by_name, id);
    *ret_project = project;
    return STATUS_OK_VALUE;
}

int project_ensure_default(struct store *store)
{
    struct arena *arena = arena_new(4096);
    struct store_batch *batch = store_batch_new();
    Crownest__V1__Project *project;
    const struct project_change nothing = {.plan = ""};
    struct status status = project_create(store, PROJECT_DEFAULT, &nothing, arena, batch, &project);
    int r = 0;

    if (status_is_ok(&status)) {
        audit_add(batch, &(struct audit_entry){.action = "project.create",
                                               .resource_id = project->project_id,
                                               .project_id = project->project_id,
                                               .detail = project->name});
        r = store_commit(store, batch, STORE_SYNCED);
    } else {
        store_batch_free(batch);
    }
    arena_free(arena);
    return r;
}

struct status project_resolve(struct store *store, const char *name_or_id, char ret_id[ID_SIZE])
{
    const char *name = name_or_id[0] ? name_or_id : PROJECT_DEFAULT;
    struct schema_key key = schema_key("jn", name, NULL, NULL);
    int r = -ENOENT;

    if (name_valid(name)) {
        r = record_get_string(store, &key, ret_id, ID_SIZE);
    } else if (id_valid("prj_", name)) {
        struct buf value = {0};

        key = schema_key("j", name, NULL, NULL);
        r = store_get(store, schema_bytes(&key), &value);
        buf_done(&value);
        if (r == 0)
            memcpy(ret_id, name, strlen(name) + 1);
    }
    if (r < 0)
        return status_at(
            status_error(STATUS_NOT_FOUND, "PROJECT_NOT_FOUND", "no project has this id or name"),
            "project");
    return STATUS_OK_VALUE;
}

struct status project_update(struct store *store, const char *name_or_id,
                             const struct project_change *change, struct arena *arena,
                             struct store_batch *batch, Crownest__V1__Project **ret_project)
{
    char id[ID_SIZE];
    struct status status = project_resolve(store, name_or_id, id);

    if (!status_is_ok(&status))
        return status;
    struct schema_key key = schema_key("j", id, NULL, NULL);
    Crownest__V1__Project *project;

    if (record_get(store, &key, &crownest__v1__project__descriptor, arena, &project) < 0)
        return status_error(STATUS_DATA_LOSS, "RECORD_DAMAGED",
                            "the project's record cannot be read");
    status = apply(store, change, arena, project);
    if (!status_is_ok(&status))
        return status;
    record_put(batch, &key, &project->base);
    *ret_project = project;
    return STATUS_OK_VALUE;
}
