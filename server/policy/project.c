#include "server/policy/project.h"

#include <errno.h>
#include <string.h>

#include "server/audit/audit.h"
#include "server/store/record.h"
#include "server/util/clock.h"
#include "server/util/limits.h"
#include "server/util/prototime.h"

#define NAME_MAX_SIZE 40
#define LOG_RETENTION_MIN_MS 1000

static bool name_valid(const char *name)
{
    size_t size = strlen(name);

    return size > 0 && size <= NAME_MAX_SIZE && name[0] >= 'a' && name[0] <= 'z' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == size;
}

static struct status check_log_retention(const Google__Protobuf__Duration *retention)
{
    uint64_t ms;

    if (retention && (protoduration_ms(retention, LIMIT_LOG_RETENTION_S * 1000ULL, &ms) < 0 ||
                      ms < LOG_RETENTION_MIN_MS))
        return status_invalid("log_retention", "LOG_RETENTION_INVALID",
                              "a log is kept from 1 to %d seconds", LIMIT_LOG_RETENTION_S);
    return STATUS_OK_VALUE;
}

struct status project_create(struct store *store, const char *name,
                             Google__Protobuf__Duration *log_retention, struct arena *arena,
                             struct store_batch *batch, Crownest__V1__Project **ret_project)
{
    struct status status = check_log_retention(log_retention);
    char id[ID_SIZE];

    if (!status_is_ok(&status))
        return status;
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
    project->log_retention = log_retention;
    struct schema_key key = schema_key("j", id, NULL, NULL);

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
    struct status status = project_create(store, PROJECT_DEFAULT, NULL, arena, batch, &project);
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
                             Google__Protobuf__Duration *log_retention, struct arena *arena,
                             struct store_batch *batch, Crownest__V1__Project **ret_project)
{
    char id[ID_SIZE];
    struct status status = check_log_retention(log_retention);

    if (status_is_ok(&status))
        status = project_resolve(store, name_or_id, id);
    if (!status_is_ok(&status))
        return status;
    struct schema_key key = schema_key("j", id, NULL, NULL);
    Crownest__V1__Project *project;

    if (record_get(store, &key, &crownest__v1__project__descriptor, arena, &project) < 0)
        return status_error(STATUS_DATA_LOSS, "RECORD_DAMAGED",
                            "the project's record cannot be read");
    if (log_retention)
        project->log_retention = log_retention;
    record_put(batch, &key, &project->base);
    *ret_project = project;
    return STATUS_OK_VALUE;
}
