#include "server/sandbox/sweep.h"

#include <string.h>

#include "crownest/v1/project.pb-c.h"
#include "server/store/schema.h"

/* Before the first pass that removes something: nothing may be looked up during a scan. */
static bool note_visit(void *arg, struct bytes key, struct bytes value)
{
    (void)key;
    buf_append(arg, &value.size, sizeof(value.size));
    buf_append(arg, value.data, value.size);
    return true;
}

static uint64_t due(const struct sweep *sweep, uint64_t keep_ms)
{
    return sweep->now_ms > keep_ms ? sweep->now_ms - keep_ms : 0;
}

static bool sweep_project(const struct sweep *sweep, const Crownest__V1__Project *project)
{
    const char *id = project->project_id;
    bool unfinished = false;
    struct plan plan;
    struct status status = quota_plan(sweep->quotas, id, &plan);

    if (!status_is_ok(&status))
        return false;
    unfinished |= log_expire(sweep, id, due(sweep, plan_log_retention_ms(&plan, project)));
    if (sweep->artifacts)
        unfinished |=
            artifacts_expire(sweep->artifacts, id,
                             due(sweep, plan_artifact_retention_ms(&plan, project)), sweep->stop);
    unfinished |=
        tombstone_expire(sweep, id, due(sweep, plan_tombstone_retention_ms(&plan, project)));
    return unfinished;
}

bool sweep_run(const struct sweep *sweep)
{
    struct schema_key all = schema_key("j", "", NULL, NULL);
    cleanup_buf struct buf projects = {0};
    bool unfinished = false;

    (void)store_scan(sweep->store, schema_bytes(&all), bytes_of(NULL, 0), STORE_ASCENDING,
                     note_visit, &projects);
    for (size_t at = 0, size; at < projects.size && !*sweep->stop; at += size) {
        memcpy(&size, projects.data + at, sizeof(size));
        at += sizeof(size);
        Crownest__V1__Project *project =
            crownest__v1__project__unpack(NULL, size, projects.data + at);

        if (!project)
            continue;
        unfinished |= sweep_project(sweep, project);
        crownest__v1__project__free_unpacked(project, NULL);
    }
    unfinished |= tombstone_logs(sweep);
    unfinished |= log_compress_cold(sweep);
    return unfinished;
}
