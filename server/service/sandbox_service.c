#include <string.h>

#include "server/sandbox/template.h"
#include "server/service/check.h"
#include "server/service/page.h"
#include "server/service/service.h"
#include "server/util/limits.h"
#include "server/util/prototime.h"

#define MIB (1ULL << 20)
#define GIB (1ULL << 30)

/* What a resource is when it is not asked for, and what it may be. */
static struct status fill_bound(const char *field, uint64_t value, uint64_t fallback, uint64_t min,
                                uint64_t max, uint64_t *ret_value)
{
    *ret_value = value ? value : fallback;
    if (*ret_value < min || *ret_value > max)
        return status_invalid(field, "RESOURCE_OUT_OF_RANGE", "%s is from %llu to %llu", field,
                              (unsigned long long)min, (unsigned long long)max);
    return STATUS_OK_VALUE;
}

static struct status fill_resources(const Crownest__V1__Resources *asked, struct arena *arena,
                                    Crownest__V1__Resources **ret_resources)
{
    static const Crownest__V1__Resources none = CROWNEST__V1__RESOURCES__INIT;
    Crownest__V1__Resources *resources = arena_alloc(arena, sizeof(*resources));
    uint64_t cpu = 0;
    uint64_t processes = 0;

    crownest__v1__resources__init(resources);
    if (!asked)
        asked = &none;
    struct status status = fill_bound("resources.memory_bytes", asked->memory_bytes, 512 * MIB,
                                      32 * MIB, 16 * GIB, &resources->memory_bytes);

    if (status_is_ok(&status))
        status = fill_bound("resources.cpu_millis", asked->cpu_millis, 1000, 50, 64000, &cpu);
    if (status_is_ok(&status))
        status =
            fill_bound("resources.max_processes", asked->max_processes, 512, 8, 32768, &processes);
    if (status_is_ok(&status))
        status = fill_bound("resources.disk_bytes", asked->disk_bytes, GIB, MIB, 64 * GIB,
                            &resources->disk_bytes);
    resources->cpu_millis = (uint32_t)cpu;
    resources->max_processes = (uint32_t)processes;
    *ret_resources = resources;
    return status;
}

static struct status check_labels(const Crownest__V1__CreateSandboxRequest *request)
{
    if (request->n_labels > LIMIT_LABELS)
        return status_invalid("labels", "LABELS_INVALID", "at most %d labels", LIMIT_LABELS);
    for (size_t i = 0; i < request->n_labels; i++) {
        const char *key = request->labels[i]->key;
        size_t size = strlen(key);

        if (size == 0 || size > 63 ||
            strspn(key, "abcdefghijklmnopqrstuvwxyz0123456789._-") != size ||
            strlen(request->labels[i]->value) > 255)
            return status_invalid("labels", "LABELS_INVALID",
                                  "a label's key has 1-63 characters of [a-z0-9._-], its value at "
                                  "most 255 bytes");
    }
    return STATUS_OK_VALUE;
}

static struct status copy_labels(const Crownest__V1__CreateSandboxRequest *request,
                                 struct arena *arena, Crownest__V1__Sandbox *sandbox)
{
    struct status status = check_labels(request);

    if (!status_is_ok(&status) || request->n_labels == 0)
        return status;
    sandbox->n_labels = request->n_labels;
    sandbox->labels = arena_alloc(arena, request->n_labels * sizeof(*sandbox->labels));
    for (size_t i = 0; i < request->n_labels; i++) {
        Crownest__V1__Sandbox__LabelsEntry *entry = arena_alloc(arena, sizeof(*entry));

        crownest__v1__sandbox__labels_entry__init(entry);
        entry->key = request->labels[i]->key;
        entry->value = request->labels[i]->value;
        sandbox->labels[i] = entry;
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
};

static struct status check_create(struct rpc_call *call,
                                  const Crownest__V1__CreateSandboxRequest *request,
                                  struct creation *creation)
{
    struct arena *arena = rpc_call_arena(call);
    Crownest__V1__Sandbox *sandbox = &creation->sandbox;

    crownest__records__sandbox_record__init(&creation->record);
    crownest__v1__sandbox__init(sandbox);
    creation->record.sandbox = sandbox;
    creation->ttl_ms = LIMIT_TTL_DEFAULT_S * 1000;
    if (request->ttl &&
        protoduration_ms(request->ttl, LIMIT_TTL_S * 1000ULL, &creation->ttl_ms) < 0)
        return status_invalid("ttl", "TTL_INVALID", "a ttl is more than 0 and at most %d seconds",
                              LIMIT_TTL_S);
    struct status status = find_template(service_of(call), request->template_, &creation->template);

    if (status_is_ok(&status))
        status = fill_resources(request->resources, arena, &sandbox->resources);
    if (status_is_ok(&status))
        status = copy_labels(request, arena, sandbox);
    if (status_is_ok(&status))
        status = copy_env(request, arena, &creation->record);
    sandbox->project_id = arena_strdup(arena, rpc_call_caller(call)->project_id);
    sandbox->template_ = arena_strdup(arena, request->template_[0] ? request->template_ : "base");
    sandbox->template_digest = arena_strdup(arena, creation->template.digest);
    return status;
}

static void keep_created(void *arg, struct store_batch *batch, const Crownest__V1__Sandbox *sandbox)
{
    Crownest__V1__CreateSandboxResponse response = CROWNEST__V1__CREATE_SANDBOX_RESPONSE__INIT;

    response.sandbox = (Crownest__V1__Sandbox *)(uintptr_t)sandbox;
    answer_keep(arg, batch, &response.base);
}

struct status service_sandbox_create(struct rpc_call *call,
                                     const Crownest__V1__CreateSandboxRequest *request,
                                     Crownest__V1__CreateSandboxResponse *response)
{
    struct service *service = service_of(call);
    struct creation *creation = arena_alloc(rpc_call_arena(call), sizeof(*creation));
    struct answer answer;
    struct sandbox_commit commit = {.add = keep_created, .arg = &answer};
    struct status status = check_create(call, request, creation);

    if (status_is_ok(&status))
        status = answer_begin(service->answers, call, request->request_id, &answer);
    if (!status_is_ok(&status))
        return status;
    if (answer.kept) {
        status = answer_again(&answer, rpc_call_arena(call), response);
    } else {
        status = sandboxes_create(service->sandboxes, creation->template.hash, creation->ttl_ms,
                                  rpc_call_arena(call), &commit, &creation->record);
        response->sandbox = &creation->sandbox;
    }
    answer_end(&answer);
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
    return sandboxes_kill(service_of(call)->sandboxes, rpc_call_caller(call)->project_id,
                          request->sandbox_id, rpc_call_arena(call), &response->sandbox);
}
