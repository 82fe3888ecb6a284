#include <stddef.h>
#include <string.h>

#include "server/sandbox/template.h"
#include "server/service/allowance.h"
#include "server/service/check.h"
#include "server/service/page.h"
#include "server/service/service.h"
#include "server/util/clock.h"
#include "server/util/limits.h"
#include "server/util/prototime.h"

#define MIB (1ULL << 20)
#define GIB (1ULL << 30)

/* What a resource is when it is not asked for, and what it may be. */
struct bound {
    const char *field;
    uint64_t value;
    uint64_t fallback;
    uint64_t min;
    uint64_t max;
    uint64_t plan_max; /* 0: none */
    const char *metric;
};

enum { DISK_BYTES = 3 }; /* its place among the bounds */

static struct status fill_bound(const struct bound *bound, uint64_t *ret_value)
{
    uint64_t fallback = bound->fallback;

    if (bound->plan_max > 0 && bound->plan_max < fallback)
        fallback = bound->plan_max;
    *ret_value = bound->value ? bound->value : fallback;
    if (*ret_value < bound->min || *ret_value > bound->max)
        return status_invalid(bound->field, "RESOURCE_OUT_OF_RANGE", "%s is from %llu to %llu",
                              bound->field, (unsigned long long)bound->min,
                              (unsigned long long)bound->max);
    return STATUS_OK_VALUE;
}

static struct status check_plan(const char *project_id, const struct plan *plan,
                                const struct bound *bound)
{
    if (bound->plan_max == 0 || bound->value <= bound->plan_max)
        return STATUS_OK_VALUE;
    return status_at(
        quota_refusal(project_id, plan, "QUOTA_SANDBOX_SIZE", bound->metric, bound->plan_max, 0),
        bound->field);
}

static uint64_t default_inodes(uint64_t disk_bytes)
{
    uint64_t inodes = disk_bytes / 4096;

    return inodes < 256 ? 256 : inodes > MIB ? MIB : inodes;
}

static struct status fill_resources(const Crownest__V1__Resources *asked, const struct plan *plan,
                                    struct arena *arena, Crownest__V1__Sandbox *sandbox)
{
    static const Crownest__V1__Resources none = CROWNEST__V1__RESOURCES__INIT;
    Crownest__V1__Resources *resources = arena_alloc(arena, sizeof(*resources));

    crownest__v1__resources__init(resources);
    if (!asked)
        asked = &none;
    const struct bound bounds[] = {
        {"resources.memory_bytes", asked->memory_bytes, 512 * MIB, LIMIT_MEMORY_MIN,
         LIMIT_MEMORY_MAX, plan->max_memory_bytes, "memory_bytes of a sandbox"},
        {"resources.cpu_millis", asked->cpu_millis, 1000, LIMIT_CPU_MILLIS_MIN,
         LIMIT_CPU_MILLIS_MAX, plan->max_cpu_millis, "cpu_millis of a sandbox"},
        {"resources.max_processes", asked->max_processes, 512, LIMIT_PROCESSES_MIN,
         LIMIT_PROCESSES_MAX, plan->max_processes, "processes of a sandbox"},
        {"resources.disk_bytes", asked->disk_bytes, GIB, LIMIT_DISK_MIN, LIMIT_DISK_MAX,
         plan->max_disk_bytes, "disk_bytes of a sandbox"},
        {"resources.disk_inodes", asked->disk_inodes, 0, 256, 16 * MIB, 0, NULL},
        {"resources.io_bytes_per_sec", asked->io_bytes_per_sec, 256 * MIB, MIB, 64 * GIB, 0, NULL},
        {"resources.max_open_files", asked->max_open_files, 4096, 64, 65536, 0, NULL},
        {"resources.max_ptys", asked->max_ptys, 64, 1, 256, 0, NULL},
    };
    uint64_t values[sizeof(bounds) / sizeof(*bounds)];
    struct status status = STATUS_OK_VALUE;

    for (size_t i = 0; i < sizeof(bounds) / sizeof(*bounds) && status_is_ok(&status); i++) {
        struct bound bound = bounds[i];

        /* As many as disk_bytes has blocks. */
        if (bound.value == 0 && bound.fallback == 0)
            bound.fallback = default_inodes(values[DISK_BYTES]);
        status = fill_bound(&bound, &values[i]);
        if (status_is_ok(&status))
            status = check_plan(sandbox->project_id, plan, &bound);
    }
    if (!status_is_ok(&status))
        return status;
    *resources = (Crownest__V1__Resources){
        .base = resources->base,
        .memory_bytes = values[0],
        .cpu_millis = (uint32_t)values[1],
        .max_processes = (uint32_t)values[2],
        .disk_bytes = values[DISK_BYTES],
        .disk_inodes = values[4],
        .io_bytes_per_sec = values[5],
        .max_open_files = (uint32_t)values[6],
        .max_ptys = (uint32_t)values[7],
    };
    sandbox->resources = resources;
    return status;
}

/* Every map<string, string> of the contract has entries of this layout. */
typedef Crownest__V1__Sandbox__LabelsEntry label;
_Static_assert(sizeof(label) == sizeof(Crownest__V1__CreateSandboxRequest__LabelsEntry) &&
                   sizeof(label) == sizeof(Crownest__V1__UpdateSandboxRequest__LabelsEntry) &&
                   offsetof(label, key) ==
                       offsetof(Crownest__V1__CreateSandboxRequest__LabelsEntry, key) &&
                   offsetof(label, value) ==
                       offsetof(Crownest__V1__UpdateSandboxRequest__LabelsEntry, value),
               "labels are copied as one kind of entry");

static struct status check_labels(const void *labels, size_t count)
{
    label *const *entries = labels;

    if (count > LIMIT_LABELS)
        return status_invalid("labels", "LABELS_INVALID", "at most %d labels", LIMIT_LABELS);
    for (size_t i = 0; i < count; i++) {
        const char *key = entries[i]->key;
        size_t size = strlen(key);

        if (size == 0 || size > 63 ||
            strspn(key, "abcdefghijklmnopqrstuvwxyz0123456789._-") != size ||
            strlen(entries[i]->value) > 255)
            return status_invalid("labels", "LABELS_INVALID",
                                  "a label's key has 1-63 characters of [a-z0-9._-], its value at "
                                  "most 255 bytes");
    }
    return STATUS_OK_VALUE;
}

static struct status copy_labels(const void *labels, size_t count, struct arena *arena,
                                 label ***ret_labels)
{
    label *const *entries = labels;
    struct status status = check_labels(labels, count);

    if (!status_is_ok(&status) || count == 0)
        return status;
    *ret_labels = arena_alloc(arena, count * sizeof(**ret_labels));
    for (size_t i = 0; i < count; i++) {
        (*ret_labels)[i] = arena_alloc(arena, sizeof(label));
        crownest__v1__sandbox__labels_entry__init((*ret_labels)[i]);
        (*ret_labels)[i]->key = entries[i]->key;
        (*ret_labels)[i]->value = entries[i]->value;
    }
    return status;
}

static struct status copy_env(const Crownest__V1__CreateSandboxRequest *request,
                              struct arena *arena, Crownest__Records__SandboxRecord *record)
{
    size_t bytes = 0;

    if (request->n_env > LIMIT_SANDBOX_ENV)
        return status_invalid("env", "ENV_TOO_LARGE", "at most %d variables", LIMIT_SANDBOX_ENV);
    record->n_env = request->n_env;
    record->env = arena_alloc(arena, (request->n_env + 1) * sizeof(*record->env));
    for (size_t i = 0; i < request->n_env; i++) {
        struct status status = check_variable("env", request->env[i]->key);

        if (!status_is_ok(&status))
            return status;
        record->env[i] = arena_printf(arena, "%s=%s", request->env[i]->key, request->env[i]->value);
        bytes += strlen(record->env[i]) + 1;
    }
    if (bytes > LIMIT_SANDBOX_ENV_BYTES)
        return status_invalid("env", "ENV_TOO_LARGE", "at most %u bytes of variables",
                              LIMIT_SANDBOX_ENV_BYTES);
    return STATUS_OK_VALUE;
}

static struct status find_template(const struct service *service, const char *asked,
                                   struct template_info *ret_info)
{
    int r = template_find(service->template_directory, asked[0] ? asked : "base", ret_info);

    if (r < 0)
        return status_at(status_error(STATUS_NOT_FOUND, "TEMPLATE_NOT_FOUND",
                                      "no template %.100s on this host; crownest templates lists "
                                      "them",
                                      asked[0] ? asked : "base"),
                         "template");
    return STATUS_OK_VALUE;
}

struct creation {
    Crownest__Records__SandboxRecord record;
    Crownest__V1__Sandbox sandbox;
    struct template_info template;
    uint64_t ttl_ms;
    uint64_t lease_ms; /* 0: none */
};

static struct status check_ttl(const Google__Protobuf__Duration *asked, uint64_t *ret_ms)
{
    if (asked && protoduration_ms(asked, LIMIT_TTL_S * 1000ULL, ret_ms) < 0)
        return status_invalid("ttl", "TTL_INVALID", "a ttl is more than 0 and at most %d seconds",
                              LIMIT_TTL_S);
    return STATUS_OK_VALUE;
}

static struct status check_lease(const Google__Protobuf__Duration *asked, uint64_t *ret_ms)
{
    if (asked && (protoduration_ms(asked, LIMIT_TTL_S * 1000ULL, ret_ms) < 0 || *ret_ms < 1000))
        return status_invalid("lease", "LEASE_INVALID", "a lease is from 1 to %d seconds",
                              LIMIT_TTL_S);
    return STATUS_OK_VALUE;
}

/* A sandbox can be tied to one that lives. */
static struct status check_parent(struct rpc_call *call, const char *parent_id)
{
    struct sandbox *parent = NULL;

    if (!parent_id[0])
        return STATUS_OK_VALUE;
    parent =
        sandboxes_find(service_of(call)->sandboxes, rpc_call_caller(call)->project_id, parent_id);
    sandbox_unref(parent);
    if (!parent)
        return status_at(status_error(STATUS_FAILED_PRECONDITION, "PARENT_NOT_RUNNING",
                                      "no living sandbox of this project has this id"),
                         "parent_sandbox_id");
    return STATUS_OK_VALUE;
}

static struct status check_create(struct rpc_call *call,
                                  const Crownest__V1__CreateSandboxRequest *request,
                                  struct creation *creation)
{
    static const struct plan unbounded;
    struct arena *arena = rpc_call_arena(call);
    Crownest__V1__Sandbox *sandbox = &creation->sandbox;

    crownest__records__sandbox_record__init(&creation->record);
    crownest__v1__sandbox__init(sandbox);
    creation->record.sandbox = sandbox;
    sandbox->project_id = arena_strdup(arena, rpc_call_caller(call)->project_id);
    creation->ttl_ms = LIMIT_TTL_DEFAULT_S * 1000;
    struct status status = check_ttl(request->ttl, &creation->ttl_ms);

    if (status_is_ok(&status))
        status = check_lease(request->lease, &creation->lease_ms);
    if (status_is_ok(&status))
        status = find_template(service_of(call), request->template_, &creation->template);
    if (status_is_ok(&status))
        status = fill_resources(request->resources, &unbounded, arena, sandbox);
    if (status_is_ok(&status))
        status = copy_labels(request->labels, request->n_labels, arena, &sandbox->labels);
    sandbox->n_labels = request->n_labels;
    if (status_is_ok(&status))
        status = copy_env(request, arena, &creation->record);
    if (status_is_ok(&status))
        creation->record.meter =
            meter_part(sandbox->resources, rpc_call_caller(call)->key_id, arena);
    sandbox->parent_sandbox_id = request->parent_sandbox_id;
    sandbox->template_ = arena_strdup(arena, request->template_[0] ? request->template_ : "base");
    sandbox->template_digest = arena_strdup(arena, creation->template.digest);
    return status;
}

/* Not before it is known that nothing was created yet: a retry is answered under any plan. */
static struct status fit_plan(struct rpc_call *call,
                              const Crownest__V1__CreateSandboxRequest *request,
                              struct creation *creation)
{
    struct plan plan;
    struct status status =
        quota_plan(service_of(call)->quotas, rpc_call_caller(call)->project_id, &plan);

    if (status_is_ok(&status))
        status =
            fill_resources(request->resources, &plan, rpc_call_arena(call), &creation->sandbox);
    if (status_is_ok(&status))
        status = allowance_ttl(call, &plan, request->ttl != NULL, &creation->ttl_ms);
    return status;
}

static bool is_quota(const struct status *status)
{
    return status->quota.metric != NULL;
}

static void keep_created(void *arg, struct store_batch *batch, const Crownest__V1__Sandbox *sandbox)
{
    Crownest__V1__CreateSandboxResponse response = CROWNEST__V1__CREATE_SANDBOX_RESPONSE__INIT;

    response.sandbox = (Crownest__V1__Sandbox *)(uintptr_t)sandbox;
    answer_keep(arg, batch, &response.base);
}

/* An attempt counts unless the plan refuses it for another reason than the rate. */
static struct status create_counted(struct rpc_call *call, const struct sandbox_commit *commit,
                                    struct creation *creation)
{
    struct service *service = service_of(call);
    const char *project_id = rpc_call_caller(call)->project_id;
    struct status status = quota_take_create(service->quotas, project_id);

    if (!status_is_ok(&status))
        return status;
    status = sandboxes_create(service->sandboxes, creation->template.hash, creation->ttl_ms,
                              creation->lease_ms, rpc_call_arena(call), commit, &creation->record);
    if (is_quota(&status))
        quota_give_create(service->quotas, project_id);
    return status;
}

static void tell_what_is_left(struct rpc_call *call)
{
    allowance_tell(call, QUOTA_SANDBOXES);
    allowance_tell_creates(call);
    allowance_tell(call, QUOTA_MEMORY);
    allowance_tell(call, QUOTA_CPU);
}

struct status service_sandbox_create(struct rpc_call *call,
                                     const Crownest__V1__CreateSandboxRequest *request,
                                     Crownest__V1__CreateSandboxResponse *response)
{
    struct service *service = service_of(call);
    struct creation *creation = arena_alloc(rpc_call_arena(call), sizeof(*creation));
    struct answer answer;
    struct audit_actor by = service_actor(call);
    struct sandbox_commit commit = {.by = &by, .add = keep_created, .arg = &answer};
    struct status status = check_create(call, request, creation);

    if (status_is_ok(&status))
        status = answer_begin(service->answers, call, request->request_id, &answer);
    if (!status_is_ok(&status))
        return status;
    if (answer.kept) {
        status = answer_again(&answer, rpc_call_arena(call), response);
    } else {
        status = check_parent(call, request->parent_sandbox_id);
        if (status_is_ok(&status))
            status = fit_plan(call, request, creation);
        if (status_is_ok(&status))
            status = create_counted(call, &commit, creation);
        response->sandbox = &creation->sandbox;
    }
    answer_end(&answer);
    tell_what_is_left(call);
    return status;
}

struct status service_sandbox_get(struct rpc_call *call,
                                  const Crownest__V1__GetSandboxRequest *request,
                                  Crownest__V1__GetSandboxResponse *response)
{
    return sandboxes_get(service_of(call)->sandboxes, rpc_call_caller(call)->project_id,
                         request->sandbox_id, rpc_call_arena(call), &response->sandbox);
}

static bool has_state(void *arg, const void *message)
{
    const Crownest__Records__SandboxRecord *record = message;

    return record->sandbox && record->sandbox->state == *(const Crownest__V1__SandboxState *)arg;
}

struct status service_sandbox_list(struct rpc_call *call,
                                   const Crownest__V1__ListSandboxesRequest *request,
                                   Crownest__V1__ListSandboxesResponse *response)
{
    struct page page;
    Crownest__V1__SandboxState state = request->state;
    struct status status = page_init(&page, call, request->page_size, request->page_token, "sbx_");

    if (!status_is_ok(&status))
        return status;
    page.range.prefix = schema_key("s", rpc_call_caller(call)->project_id, "", NULL);
    page.type = &crownest__records__sandbox_record__descriptor;
    if (state != CROWNEST__V1__SANDBOX_STATE__SANDBOX_STATE_UNSPECIFIED)
        page.keep = has_state;
    page.keep_arg = &state;
    status = page_read(&page, service_of(call)->store, &response->next_page_token);
    for (size_t i = 0; i < page.count; i++)
        page.items[i] = ((Crownest__Records__SandboxRecord *)page.items[i])->sandbox;
    response->sandboxes = (Crownest__V1__Sandbox **)page.items;
    response->n_sandboxes = page.count;
    return status;
}

struct status service_sandbox_kill(struct rpc_call *call,
                                   const Crownest__V1__KillSandboxRequest *request,
                                   Crownest__V1__KillSandboxResponse *response)
{
    struct audit_actor by = service_actor(call);

    return sandboxes_kill(service_of(call)->sandboxes, rpc_call_caller(call)->project_id,
                          request->sandbox_id, &by, rpc_call_arena(call), &response->sandbox);
}

static void keep_updated(void *arg, struct store_batch *batch, const Crownest__V1__Sandbox *sandbox)
{
    Crownest__V1__UpdateSandboxResponse response = CROWNEST__V1__UPDATE_SANDBOX_RESPONSE__INIT;

    response.sandbox = (Crownest__V1__Sandbox *)(uintptr_t)sandbox;
    answer_keep(arg, batch, &response.base);
}

/* A moved TTL is bounded by when the sandbox was created, or it would live for ever. */
static struct status check_more_ttl(struct rpc_call *call, const char *sandbox_id, uint64_t ttl_ms)
{
    Crownest__V1__Sandbox *sandbox;
    uint64_t now_ms = clock_wall_ms();

    if (ttl_ms == 0)
        return STATUS_OK_VALUE;
    struct status status =
        sandboxes_get(service_of(call)->sandboxes, rpc_call_caller(call)->project_id, sandbox_id,
                      rpc_call_arena(call), &sandbox);

    if (!status_is_ok(&status))
        return status;
    uint64_t create_ms = prototime_ms(sandbox->create_time);

    return allowance_more_ttl(call, now_ms > create_ms ? now_ms - create_ms : 0, ttl_ms);
}

struct status service_sandbox_update(struct rpc_call *call,
                                     const Crownest__V1__UpdateSandboxRequest *request,
                                     Crownest__V1__UpdateSandboxResponse *response)
{
    struct service *service = service_of(call);
    struct sandbox_update update = {.replace_labels = request->replace_labels,
                                    .n_labels = request->n_labels};
    struct answer answer;
    struct audit_actor by = service_actor(call);
    struct sandbox_commit commit = {.by = &by, .add = keep_updated, .arg = &answer};
    struct status status = check_ttl(request->ttl, &update.ttl_ms);

    if (status_is_ok(&status) && request->n_labels > 0 && !request->replace_labels)
        status = status_invalid("replace_labels", "LABELS_INVALID",
                                "labels are given, and replace_labels is not set");
    if (status_is_ok(&status))
        status =
            copy_labels(request->labels, request->n_labels, rpc_call_arena(call), &update.labels);
    if (status_is_ok(&status))
        status = answer_begin(service->answers, call, request->request_id, &answer);
    if (!status_is_ok(&status))
        return status;
    if (answer.kept)
        status = answer_again(&answer, rpc_call_arena(call), response);
    else
        status = check_more_ttl(call, request->sandbox_id, update.ttl_ms);
    if (status_is_ok(&status) && !answer.kept)
        status = sandboxes_update(service->sandboxes, rpc_call_caller(call)->project_id,
                                  request->sandbox_id, &update, &commit, rpc_call_arena(call),
                                  &response->sandbox);
    answer_end(&answer);
    return status;
}

struct status service_sandbox_heartbeat(struct rpc_call *call,
                                        const Crownest__V1__HeartbeatSandboxRequest *request,
                                        Crownest__V1__HeartbeatSandboxResponse *response)
{
    uint64_t expire_ms = 0;
    struct status status =
        sandboxes_heartbeat(service_of(call)->sandboxes, rpc_call_caller(call)->project_id,
                            request->sandbox_id, &expire_ms);

    response->lease_expire_time = prototime_from_ms(rpc_call_arena(call), expire_ms);
    return status;
}

struct status service_sandbox_pause(struct rpc_call *call,
                                    const Crownest__V1__PauseSandboxRequest *request,
                                    Crownest__V1__PauseSandboxResponse *response)
{
    struct audit_actor by = service_actor(call);

    return sandboxes_pause(service_of(call)->sandboxes, rpc_call_caller(call)->project_id,
                           request->sandbox_id, &by, rpc_call_arena(call), &response->sandbox);
}

struct status service_sandbox_resume(struct rpc_call *call,
                                     const Crownest__V1__ResumeSandboxRequest *request,
                                     Crownest__V1__ResumeSandboxResponse *response)
{
    struct audit_actor by = service_actor(call);

    return sandboxes_resume(service_of(call)->sandboxes, rpc_call_caller(call)->project_id,
                            request->sandbox_id, &by, rpc_call_arena(call), &response->sandbox);
}

/* One line for each thing that keeps it, as `crownest ps --why` shows them. */
static void explain(struct arena *arena, const struct sandbox_stats *stats,
                    Crownest__V1__SandboxStatsResponse *response)
{
    uint64_t now = clock_wall_ms();
    uint64_t ttl_s = stats->expire_ms > now ? (stats->expire_ms - now) / 1000 : 0;

    response->kept_by = arena_alloc(arena, 4 * sizeof(*response->kept_by));
    response->kept_by[response->n_kept_by++] =
        arena_printf(arena, "ttl: %llu s left", (unsigned long long)ttl_s);
    if (stats->lease_expire_ms > now)
        response->kept_by[response->n_kept_by++] =
            arena_printf(arena, "lease: %llu s left without a heartbeat",
                         (unsigned long long)(stats->lease_expire_ms - now) / 1000);
    if (stats->parent_id[0])
        response->kept_by[response->n_kept_by++] =
            arena_printf(arena, "parent: as long as %s lives", stats->parent_id);
}

struct status service_sandbox_stats(struct rpc_call *call,
                                    const Crownest__V1__SandboxStatsRequest *request,
                                    Crownest__V1__SandboxStatsResponse *response)
{
    struct service *service = service_of(call);
    struct arena *arena = rpc_call_arena(call);
    struct sandbox_stats stats;
    struct status status = sandboxes_stats(service->sandboxes, rpc_call_caller(call)->project_id,
                                           request->sandbox_id, arena, &stats);

    if (!status_is_ok(&status))
        return status;
    response->cpu_usec = stats.usage.cpu_usec;
    response->memory_bytes = stats.usage.memory_bytes;
    response->memory_peak_bytes = stats.usage.memory_peak_bytes;
    response->processes = stats.usage.processes;
    response->oom_kills = stats.usage.oom_kills;
    response->commands = commands_running(service->commands, request->sandbox_id);
    if (stats.lease_expire_ms > 0)
        response->lease_expire_time = prototime_from_ms(arena, stats.lease_expire_ms);
    explain(arena, &stats, response);
    return status;
}
