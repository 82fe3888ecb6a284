/* How sandboxes come to be: what admits them, the jail they get, and what they are tied to. */
#include "server/sandbox/sandbox_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "server/store/record.h"
#include "server/util/cleanup.h"
#include "server/util/clock.h"
#include "server/util/failpoint.h"
#include "server/util/limits.h"
#include "server/util/prototime.h"

struct quota_amounts sandbox_amounts(const Crownest__V1__Sandbox *sandbox)
{
    return (struct quota_amounts){{[QUOTA_SANDBOXES] = 1,
                                   [QUOTA_MEMORY] = sandbox->resources->memory_bytes,
                                   [QUOTA_CPU] = sandbox->resources->cpu_millis}};
}

static struct status admit_here(struct sandboxes *sandboxes)
{
    lock_scope(&sandboxes->mutex);
    if (sandboxes->count >= LIMIT_SANDBOXES)
        return status_error(STATUS_RESOURCE_EXHAUSTED, "SANDBOX_LIMIT",
                            "this host runs its maximum of %d sandboxes; kill one first",
                            LIMIT_SANDBOXES);
    sandboxes->count++;
    return STATUS_OK_VALUE;
}

static void unadmit_here(struct sandboxes *sandboxes)
{
    lock_scope(&sandboxes->mutex);
    sandboxes->count--;
}

/* Both of this host and of the project. */
static struct status admit(struct sandboxes *sandboxes, const Crownest__V1__Sandbox *sandbox)
{
    struct quota_amounts amounts = sandbox_amounts(sandbox);
    struct status status = admit_here(sandboxes);

    if (!status_is_ok(&status))
        return status;
    status = quota_take(sandboxes->quotas, sandbox->project_id, &amounts);
    if (!status_is_ok(&status))
        unadmit_here(sandboxes);
    return status;
}

static void unadmit(struct sandboxes *sandboxes, const Crownest__V1__Sandbox *sandbox)
{
    struct quota_amounts amounts = sandbox_amounts(sandbox);

    quota_give(sandboxes->quotas, sandbox->project_id, &amounts);
    unadmit_here(sandboxes);
}

static void nest_exited(void *arg, const struct nest_reply *reply)
{
    struct sandbox *sandbox = arg;

    sandbox->owner->hooks.command_exited(sandbox->owner->hooks.arg, sandbox, reply);
}

/* The pidfd tells when everything is dead; the socket's end only that nest-init closed it. */
static void nest_closed(void *arg)
{
    struct sandbox *sandbox = arg;

    sandbox->connected = false;
    sandbox_unref(sandbox);
}

/* The record on its own, for as long as the sandbox runs. */
static Crownest__Records__SandboxRecord *record_copy(const Crownest__Records__SandboxRecord *record)
{
    size_t size = crownest__records__sandbox_record__get_packed_size(record);
    cleanup_free uint8_t *packed = malloc(size + 1);

    if (!packed)
        abort();
    (void)crownest__records__sandbox_record__pack(record, packed);
    Crownest__Records__SandboxRecord *copy =
        crownest__records__sandbox_record__unpack(NULL, size, packed);

    if (!copy)
        abort();
    return copy;
}

struct sandbox *sandbox_new(struct sandboxes *owner, const int fds[SD_FD_COUNT],
                            const Crownest__Records__SandboxRecord *record)
{
    struct sandbox *sandbox = calloc(1, sizeof(*sandbox));

    if (!sandbox)
        abort();
    /* One reference each for the table, the pidfd, the control socket and the TTL. */
    atomic_init(&sandbox->refs, 4);
    sandbox->owner = owner;
    sandbox->record = record_copy(record);
    (void)snprintf(sandbox->id, sizeof(sandbox->id), "%s", record->sandbox->sandbox_id);
    (void)snprintf(sandbox->project_id, sizeof(sandbox->project_id), "%s",
                   record->sandbox->project_id);
    sandbox->pidfd = (struct loop_source){.fd = fds[SD_FD_PIDFD], .ready = sandbox_pidfd_ready};
    sandbox->ttl.fire = sandbox_ttl_fire;
    sandbox->lease.fire = sandbox_lease_fire;
    sandbox->end_job.run = sandbox_end_run;
    sandbox->end_job.tenant = sandbox->project_id;
    sandbox->pause_job.run = sandbox_budget_run;
    sandbox->expire_ms = prototime_ms(record->sandbox->expire_time);
    if (record->sandbox->lease)
        (void)protoduration_ms(record->sandbox->lease, LIMIT_TTL_S * 1000ULL, &sandbox->lease_ms);
    sandbox->connected = true;
    struct nest_hooks hooks = {.exited = nest_exited, .closed = nest_closed, .arg = sandbox};

    nest_new(owner->loop, fds[SD_FD_CONTROL], &hooks, &sandbox->nest);
    return sandbox;
}

void sandbox_start(struct sandbox *sandbox, uint64_t due_ms)
{
    struct sandboxes *owner = sandbox->owner;

    (void)pthread_mutex_lock(&owner->mutex);
    HASH_ADD_STR(owner->running, id, sandbox);
    (void)pthread_mutex_unlock(&owner->mutex);
    loop_arm(owner->loop, &sandbox->ttl, due_ms);
    sandbox->watched = true;
    if (loop_add(owner->loop, &sandbox->pidfd, EPOLLIN) < 0)
        abort();
}

void sandbox_lease(struct sandbox *sandbox, uint64_t ms)
{
    (void)sandbox_ref(sandbox);
    (void)pthread_mutex_lock(&sandbox->owner->mutex);
    sandbox->lease_expire_ms = clock_wall_ms() + ms;
    (void)pthread_mutex_unlock(&sandbox->owner->mutex);
    loop_arm(sandbox->owner->loop, &sandbox->lease, clock_monotonic_ms() + ms);
}

static void fill_record(Crownest__Records__SandboxRecord *record, uint64_t ttl_ms,
                        uint64_t lease_ms, struct arena *arena)
{
    Crownest__V1__Sandbox *sandbox = record->sandbox;
    char id[ID_SIZE];
    uint64_t now = clock_wall_us();

    id_make("sbx_", id);
    sandbox->sandbox_id = arena_strdup(arena, id);
    sandbox->state = CROWNEST__V1__SANDBOX_STATE__SANDBOX_STATE_CREATING;
    sandbox->create_time = prototime_from_us(arena, now);
    sandbox->expire_time = prototime_from_us(arena, now + ttl_ms * 1000);
    if (lease_ms > 0)
        sandbox->lease = protoduration_from_us(arena, lease_ms * 1000);
}

static int write_living(struct sandboxes *sandboxes, const Crownest__Records__SandboxRecord *record,
                        const struct sandbox_commit *commit, enum audit_outcome outcome)
{
    const Crownest__V1__Sandbox *sandbox = record->sandbox;
    struct schema_key key = sandbox_record_key(sandbox->project_id, sandbox->sandbox_id);
    struct schema_key live = schema_key("live", sandbox->sandbox_id, NULL, NULL);
    struct audit_entry entry = sandbox_entry(sandbox, "sandbox.create", commit->by);
    struct store_batch *batch = store_batch_new();

    entry.outcome = outcome;
    audit_add(batch, &entry);
    record_put(batch, &key, &record->base);
    record_put_string(batch, &live, sandbox->project_id);
    if (outcome == AUDIT_OK)
        commit->add(commit->arg, batch, sandbox);
    return store_commit(sandboxes->store, batch, STORE_SYNCED);
}

/* Nothing was ready: the intent is written before the jail is built. */
static struct status build(struct sandboxes *sandboxes, const uint8_t template_hash[32],
                           const struct sd_limits *limits, const struct sandbox_commit *commit,
                           struct arena *arena, Crownest__Records__SandboxRecord *record,
                           struct jail *ret_jail)
{
    struct err err = {0};

    record->jail_id = record->sandbox->sandbox_id;
    if (write_living(sandboxes, record, commit, AUDIT_BEGUN) < 0)
        return record_write_failed(sandboxes->store);
    FAILPOINT("sandbox.create.intended");
    int r =
        jail_pool_build(sandboxes->jails, record->jail_id, template_hash, limits, ret_jail, &err);

    if (r == 0)
        return STATUS_OK_VALUE;
    (void)sandbox_write_end(
        sandboxes, record, arena,
        &(struct sandbox_ending){.cause = CROWNEST__V1__END_CAUSE__END_CAUSE_CREATE_FAILED,
                                 .detail = err.message,
                                 .by = commit->by});
    return status_unavailable("SANDBOX_CREATE_FAILED", "the jail could not be built: %s",
                              err.message);
}

/* A jail of the pool needs no intent: sandboxd names those that no record claims at the next start.
 */
static struct status take_jail(struct sandboxes *sandboxes, const uint8_t template_hash[32],
                               const struct sandbox_commit *commit, struct arena *arena,
                               Crownest__Records__SandboxRecord *record, struct jail *ret_jail)
{
    const Crownest__V1__Resources *resources = record->sandbox->resources;
    struct sd_limits limits = {.memory_bytes = resources->memory_bytes,
                               .disk_bytes = resources->disk_bytes,
                               .disk_inodes = resources->disk_inodes,
                               .io_bytes_per_sec = resources->io_bytes_per_sec,
                               .cpu_millis = resources->cpu_millis,
                               .max_processes = resources->max_processes,
                               .max_open_files = resources->max_open_files,
                               .max_ptys = resources->max_ptys};

    if (!jail_pool_claim(sandboxes->jails, template_hash, &limits, ret_jail))
        return build(sandboxes, template_hash, &limits, commit, arena, record, ret_jail);
    record->jail_id = arena_strdup(arena, ret_jail->id);
    return STATUS_OK_VALUE;
}

/* What the sandbox is tied to, beside its TTL. */
static void tie(struct sandbox *sandbox)
{
    const char *parent_id = sandbox->record->sandbox->parent_sandbox_id;

    if (sandbox->lease_ms > 0)
        sandbox_lease(sandbox, sandbox->lease_ms);
    if (!parent_id[0])
        return;
    struct sandbox *parent = sandboxes_find(sandbox->owner, sandbox->project_id, parent_id);

    /* It has ended meanwhile, and its end has not seen this child. */
    if (!parent)
        sandbox_queue_end(sandbox_ref(sandbox), CROWNEST__V1__END_CAUSE__END_CAUSE_PARENT);
    sandbox_unref(parent);
}

/* What the plan of a project includes bounds it, unless the plan has what is more be billed. */
static struct status include(struct sandboxes *sandboxes, const char *project_id)
{
    struct plan plan;
    struct status status = quota_plan(sandboxes->quotas, project_id, &plan);

    if (status_is_ok(&status))
        meter_include(sandboxes->meter, project_id, plan.name,
                      plan.metered_overage ? 0 : plan.included_unit_seconds);
    return status;
}

void sandboxes_heed_plans(struct sandboxes *sandboxes)
{
    char projects[LIMIT_SANDBOXES][ID_SIZE];
    struct sandbox *sandbox;
    struct sandbox *next;
    size_t count = 0;

    (void)pthread_mutex_lock(&sandboxes->mutex);
    HASH_ITER(hh, sandboxes->running, sandbox, next)
    {
        if (count < LIMIT_SANDBOXES)
            memcpy(projects[count++], sandbox->project_id, ID_SIZE);
    }
    (void)pthread_mutex_unlock(&sandboxes->mutex);
    for (size_t i = 0; i < count; i++)
        (void)include(sandboxes, projects[i]);
}

struct status sandboxes_create(struct sandboxes *sandboxes, const uint8_t template_hash[32],
                               uint64_t ttl_ms, uint64_t lease_ms, struct arena *arena,
                               const struct sandbox_commit *commit,
                               Crownest__Records__SandboxRecord *record)
{
    struct status status = admit(sandboxes, record->sandbox);
    struct metered *metered = NULL;
    struct jail jail;
    uint64_t due = clock_monotonic_ms() + ttl_ms;

    if (!status_is_ok(&status))
        return status;
    fill_record(record, ttl_ms, lease_ms, arena);
    record->sandbox->created_by = arena_strdup(arena, commit->by->id);
    status = include(sandboxes, record->sandbox->project_id);
    if (status_is_ok(&status))
        status = meter_admit(sandboxes->meter, record, &metered);
    if (status_is_ok(&status))
        status = take_jail(sandboxes, template_hash, commit, arena, record, &jail);
    if (!status_is_ok(&status)) {
        meter_forget(metered);
        unadmit(sandboxes, record->sandbox);
        return status;
    }
    FAILPOINT("sandbox.create.built");
    struct sandbox *sandbox = sandbox_new(sandboxes, jail.fds, record);

    nest_hello(sandbox->nest);
    record->sandbox->state = CROWNEST__V1__SANDBOX_STATE__SANDBOX_STATE_RUNNING;
    sandbox->metered = metered;
    meter_begin(sandboxes->meter, record->meter, due, arena);
    record->sandbox->start_time = prototime_from_us(arena, record->meter->anchor_wall_us);
    if (write_living(sandboxes, record, commit, AUDIT_OK) < 0)
        status = record_write_failed(sandboxes->store);
    meter_note(metered, record->meter);
    FAILPOINT("sandbox.create.recorded");
    (void)sandbox_ref(sandbox);
    sandbox_start(sandbox, due);
    if (status_is_ok(&status))
        tie(sandbox);
    else
        (void)sandbox_end(
            sandboxes, sandbox->project_id, sandbox->id,
            &(struct sandbox_ending){.cause = CROWNEST__V1__END_CAUSE__END_CAUSE_CREATE_FAILED,
                                     .detail = "",
                                     .by = commit->by});
    sandbox_unref(sandbox);
    return status;
}
