#include "server/plan/plan.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "server/plan/plan_check.h"
#include "server/store/record.h"
#include "server/util/limits.h"
#include "server/util/prototime.h"

#define ARENA_BYTES (64U << 10)

static struct schema_key plan_key(const char *name)
{
    return schema_key("pl", name, NULL, NULL);
}

bool plan_name_valid(const char *name)
{
    size_t size = strlen(name);

    return size > 0 && size < PLAN_NAME_SIZE && name[0] >= 'a' && name[0] <= 'z' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == size;
}

static struct status not_found(void)
{
    return status_error(STATUS_NOT_FOUND, "PLAN_NOT_FOUND",
                        "no plan has this name; crownest plans lists them");
}

/* Putting */

static struct status check_all(Crownest__V1__Plan *const *plans, size_t count)
{
    if (count == 0 || count > LIMIT_PLANS)
        return status_invalid("plans", "PLANS_INVALID", "put from 1 to %d plans", LIMIT_PLANS);
    for (size_t i = 0; i < count; i++) {
        struct status status = plan_check(plans[i], i);
        char at[64];

        if (!status_is_ok(&status))
            return status;
        (void)snprintf(at, sizeof(at), "plans[%zu].name", i);
        if (strcmp(plans[i]->name, PLAN_SELF_HOSTED) == 0)
            return status_invalid(at, "PLANS_INVALID",
                                  "`" PLAN_SELF_HOSTED "` is built in and bounds nothing; give the "
                                  "plan another name");
        for (size_t j = 0; j < i; j++) {
            if (strcmp(plans[i]->name, plans[j]->name) == 0)
                return status_invalid(at, "PLANS_INVALID", "there are two plans `%.40s`; leave one",
                                      plans[i]->name);
        }
    }
    return STATUS_OK_VALUE;
}

static bool count_visit(void *arg, struct bytes key, struct bytes value)
{
    (void)key;
    (void)value;
    ++*(size_t *)arg;
    return true;
}

/* How many there would be. */
static int count_after(struct store *store, Crownest__V1__Plan *const *plans, size_t count,
                       size_t *ret_count)
{
    struct schema_key all = plan_key("");
    int r = store_scan(store, schema_bytes(&all), bytes_of(NULL, 0), STORE_ASCENDING, count_visit,
                       ret_count);

    for (size_t i = 0; i < count && r == 0; i++) {
        struct schema_key key = plan_key(plans[i]->name);
        cleanup_buf struct buf value = {0};
        int found = store_get(store, schema_bytes(&key), &value);

        if (found == -ENOENT)
            ++*ret_count;
        else if (found < 0)
            r = found;
    }
    return r;
}

struct status plans_put(struct store *store, Crownest__V1__Plan *const *plans, size_t count,
                        struct store_batch *batch)
{
    struct status status = check_all(plans, count);
    size_t after = 0;

    if (!status_is_ok(&status))
        return status;
    if (count_after(store, plans, count, &after) < 0)
        return status_unavailable("STORE_FAILED", "the database cannot be read");
    if (after > LIMIT_PLANS)
        return status_error(STATUS_RESOURCE_EXHAUSTED, "PLAN_LIMIT",
                            "there would be %zu plans, and %d are the most; delete some", after,
                            LIMIT_PLANS);
    for (size_t i = 0; i < count; i++) {
        struct schema_key key = plan_key(plans[i]->name);

        record_put(batch, &key, &plans[i]->base);
    }
    return STATUS_OK_VALUE;
}

/* Reading */

static Crownest__V1__Plan *self_hosted(struct arena *arena)
{
    Crownest__V1__Plan *plan = arena_alloc(arena, sizeof(*plan));
    Crownest__V1__PlanFeatures *features = arena_alloc(arena, sizeof(*features));

    crownest__v1__plan__init(plan);
    crownest__v1__plan_features__init(features);
    features->artifacts = features->metered_overage = features->project_keys = true;
    features->webhooks = features->previews = true;
    plan->name = arena_strdup(arena, PLAN_SELF_HOSTED);
    plan->features = features;
    return plan;
}

/* Returns 0, -ENOENT, -EIO or -EUCLEAN. */
static int read_plan(struct store *store, const char *name, struct arena *arena,
                     Crownest__V1__Plan **ret_plan)
{
    struct schema_key key = plan_key(name);

    if (name[0] == '\0' || strcmp(name, PLAN_SELF_HOSTED) == 0) {
        *ret_plan = self_hosted(arena);
        return 0;
    }
    if (!plan_name_valid(name))
        return -ENOENT;
    return record_get(store, &key, &crownest__v1__plan__descriptor, arena, ret_plan);
}

struct status plan_get(struct store *store, const char *name, struct arena *arena,
                       Crownest__V1__Plan **ret_plan)
{
    int r = read_plan(store, name, arena, ret_plan);

    if (r == -ENOENT)
        return status_at(not_found(), "name");
    if (r < 0)
        return status_error(STATUS_DATA_LOSS, "RECORD_DAMAGED", "the plan cannot be read");
    return STATUS_OK_VALUE;
}

struct listing {
    struct arena *arena;
    Crownest__V1__Plan **plans;
    size_t count;
};

static bool list_visit(void *arg, struct bytes key, struct bytes value)
{
    struct listing *listing = arg;
    Crownest__V1__Plan *plan =
        crownest__v1__plan__unpack(arena_allocator(listing->arena), value.size, value.data);

    (void)key;
    if (plan)
        listing->plans[listing->count++] = plan;
    return listing->count < LIMIT_PLANS;
}

int plans_list(struct store *store, struct arena *arena, Crownest__V1__Plan ***ret_plans,
               size_t *ret_count)
{
    struct schema_key all = plan_key("");
    struct listing listing = {.arena = arena};

    listing.plans = arena_alloc(arena, LIMIT_PLANS * sizeof(*listing.plans));
    int r = store_scan(store, schema_bytes(&all), bytes_of(NULL, 0), STORE_ASCENDING, list_visit,
                       &listing);

    if (r == 0) {
        *ret_plans = listing.plans;
        *ret_count = listing.count;
    }
    return r;
}

/* Deleting */

struct search {
    const char *plan;
    char project[64]; /* the name of one that has it; empty: none */
};

static bool search_visit(void *arg, struct bytes key, struct bytes value)
{
    struct search *search = arg;
    Crownest__V1__Project *project = crownest__v1__project__unpack(NULL, value.size, value.data);

    (void)key;
    if (project && strcmp(project->plan, search->plan) == 0)
        (void)snprintf(search->project, sizeof(search->project), "%s", project->name);
    if (project)
        crownest__v1__project__free_unpacked(project, NULL);
    return search->project[0] == '\0';
}

struct status plan_delete(struct store *store, const char *name, struct arena *arena,
                          struct store_batch *batch, Crownest__V1__Plan **ret_plan)
{
    struct schema_key projects = schema_key("j", "", NULL, NULL);
    struct schema_key key = plan_key(name);
    struct search search = {.plan = name};

    if (name[0] == '\0' || strcmp(name, PLAN_SELF_HOSTED) == 0)
        return status_invalid("name", "PLANS_INVALID", "`" PLAN_SELF_HOSTED "` is built in");
    struct status status = plan_get(store, name, arena, ret_plan);

    if (!status_is_ok(&status))
        return status;
    if (store_scan(store, schema_bytes(&projects), bytes_of(NULL, 0), STORE_ASCENDING, search_visit,
                   &search) < 0)
        return status_unavailable("STORE_FAILED", "the database cannot be read");
    if (search.project[0])
        return status_at(status_error(STATUS_FAILED_PRECONDITION, "PLAN_IN_USE",
                                      "the project `%s` has this plan; give it another one first",
                                      search.project),
                         "name");
    record_delete(batch, &key);
    return STATUS_OK_VALUE;
}

/* Asking */

static uint64_t ms_of(const Google__Protobuf__Duration *duration)
{
    uint64_t ms;

    return duration && protoduration_ms(duration, UINT64_MAX, &ms) == 0 ? ms : 0;
}

static void fill_features(const Crownest__V1__PlanFeatures *features, struct plan *plan)
{
    if (!features)
        return;
    plan->artifacts = features->artifacts;
    plan->metered_overage = features->metered_overage;
    plan->project_keys = features->project_keys;
    plan->webhooks = features->webhooks;
    plan->previews = features->previews;
}

static void fill(const Crownest__V1__Plan *message, struct plan *ret_plan)
{
    struct plan plan = {.max_sandboxes = message->max_sandboxes,
                        .max_ttl_ms = ms_of(message->max_ttl),
                        .max_memory_bytes = message->max_memory_bytes,
                        .max_cpu_millis = message->max_cpu_millis,
                        .max_processes = message->max_processes,
                        .max_disk_bytes = message->max_disk_bytes,
                        .max_total_memory_bytes = message->max_total_memory_bytes,
                        .max_total_cpu_millis = message->max_total_cpu_millis,
                        .creates_per_minute = message->creates_per_minute,
                        .calls_per_second = message->calls_per_second,
                        .max_commands = message->max_commands,
                        .max_artifact_bytes = message->max_artifact_bytes,
                        .max_log_retention_ms = ms_of(message->max_log_retention),
                        .max_artifact_retention_ms = ms_of(message->max_artifact_retention),
                        .max_tombstone_retention_ms = ms_of(message->max_tombstone_retention),
                        .max_keys = message->max_keys,
                        .included_unit_seconds = message->included_unit_seconds};

    (void)snprintf(plan.name, sizeof(plan.name), "%s", message->name);
    fill_features(message->features, &plan);
    *ret_plan = plan;
}

struct status plan_of(struct store *store, const char *project_id, struct plan *ret_plan)
{
    struct schema_key key = schema_key("j", project_id, NULL, NULL);
    struct arena *arena = arena_new(ARENA_BYTES);
    Crownest__V1__Project *project;
    Crownest__V1__Plan *plan;
    int r = record_get(store, &key, &crownest__v1__project__descriptor, arena, &project);

    if (r == 0)
        r = read_plan(store, project->plan, arena, &plan);
    if (r == 0)
        fill(plan, ret_plan);
    arena_free(arena);
    return r < 0 ? status_unavailable("STORE_FAILED", "the project's plan cannot be read")
                 : STATUS_OK_VALUE;
}

/* Retention */

static uint64_t kept_ms(const Google__Protobuf__Duration *asked, uint64_t default_s, uint64_t max)
{
    uint64_t ms = ms_of(asked);

    if (ms == 0)
        ms = default_s * 1000;
    return max > 0 && ms > max ? max : ms;
}

uint64_t plan_log_retention_ms(const struct plan *plan, const Crownest__V1__Project *project)
{
    return kept_ms(project->log_retention, LIMIT_LOG_RETENTION_DEFAULT_S,
                   plan->max_log_retention_ms);
}

uint64_t plan_artifact_retention_ms(const struct plan *plan, const Crownest__V1__Project *project)
{
    return kept_ms(project->artifact_retention, LIMIT_ARTIFACT_RETENTION_DEFAULT_S,
                   plan->max_artifact_retention_ms);
}

uint64_t plan_tombstone_retention_ms(const struct plan *plan, const Crownest__V1__Project *project)
{
    return kept_ms(project->tombstone_retention, LIMIT_TOMBSTONE_RETENTION_DEFAULT_S,
                   plan->max_tombstone_retention_ms);
}
