/* Changes of a sandbox that goes on: how long it lives, whether it runs. */
#include "server/sandbox/sandbox_private.h"

#include <errno.h>
#include <string.h>

#include "server/meter/timeline.h"
#include "server/store/record.h"
#include "server/util/cleanup.h"
#include "server/util/clock.h"
#include "server/util/failpoint.h"
#include "server/util/limits.h"
#include "server/util/prototime.h"

/* A change of the record of a claimed sandbox. */
typedef void edit_fn(void *arg, Crownest__Records__SandboxRecord *record, struct arena *arena);

struct edit {
    edit_fn *apply;
    void *arg;
    const char *action;
    enum audit_outcome outcome;
    const struct audit_actor *by;
    const struct sandbox_commit *commit; /* NULL: there is nothing to add */
};

static struct status edit_record(struct sandbox *sandbox, const struct edit *edit,
                                 struct arena *arena, Crownest__V1__Sandbox **ret_sandbox)
{
    struct schema_key key = sandbox_record_key(sandbox->project_id, sandbox->id);
    Crownest__Records__SandboxRecord *record;
    int r = sandbox_record_read(sandbox->owner, sandbox->project_id, sandbox->id, arena, &record);

    if (r < 0)
        return sandbox_not_found(r);
    edit->apply(edit->arg, record, arena);
    struct audit_entry entry = sandbox_entry(record->sandbox, edit->action, edit->by);
    struct store_batch *batch = store_batch_new();

    entry.outcome = edit->outcome;
    audit_add(batch, &entry);

    FAILPOINT("sandbox.change.unrecorded");
    record_put(batch, &key, &record->base);
    if (edit->commit)
        edit->commit->add(edit->commit->arg, batch, record->sandbox);
    if (store_commit(sandbox->owner->store, batch, STORE_SYNCED) < 0)
        return record_write_failed(sandbox->owner->store);
    FAILPOINT("sandbox.change.recorded");
    meter_note(sandbox->metered, record->meter);
    *ret_sandbox = record->sandbox;
    return STATUS_OK_VALUE;
}

static void apply_update(void *arg, Crownest__Records__SandboxRecord *record, struct arena *arena)
{
    const struct sandbox_update *update = arg;

    if (update->ttl_ms > 0)
        record->sandbox->expire_time =
            prototime_from_us(arena, clock_wall_us() + update->ttl_ms * 1000);
    if (update->ttl_ms > 0 && record->meter)
        record->meter->expire_us = meter_now(record->meter) + update->ttl_ms * 1000;
    if (update->replace_labels) {
        record->sandbox->labels = update->labels;
        record->sandbox->n_labels = update->n_labels;
    }
}

/* Whether it is in time: a TTL that has passed is not taken back. */
static bool move_ttl(struct sandbox *sandbox, uint64_t ttl_ms)
{
    if (!loop_disarm(sandbox->owner->loop, &sandbox->ttl))
        return false;
    loop_arm(sandbox->owner->loop, &sandbox->ttl, clock_monotonic_ms() + ttl_ms);
    lock_scope(&sandbox->owner->mutex);
    sandbox->expire_ms = clock_wall_ms() + ttl_ms;
    return true;
}

struct status sandboxes_update(struct sandboxes *sandboxes, const char *project_id, const char *id,
                               const struct sandbox_update *update,
                               const struct sandbox_commit *commit, struct arena *arena,
                               Crownest__V1__Sandbox **ret_sandbox)
{
    struct sandbox *sandbox = sandbox_claim(sandboxes, project_id, id);
    struct edit edit = {.apply = apply_update,
                        .arg = (void *)(uintptr_t)update,
                        .action = "sandbox.update",
                        .by = commit->by,
                        .commit = commit};
    struct status status;

    if (!sandbox)
        return sandbox_not_running(sandboxes, project_id, id);
    if (update->ttl_ms > 0 && !move_ttl(sandbox, update->ttl_ms))
        status = status_at(status_error(STATUS_FAILED_PRECONDITION, "SANDBOX_NOT_RUNNING",
                                        "the sandbox is ending"),
                           "sandbox_id");
    else
        status = edit_record(sandbox, &edit, arena, ret_sandbox);
    sandbox_release(sandbox);
    return status;
}

static void apply_pause(void *arg, Crownest__Records__SandboxRecord *record, struct arena *arena)
{
    (void)arg;
    record->sandbox->state = CROWNEST__V1__SANDBOX_STATE__SANDBOX_STATE_PAUSED;
    if (!record->meter)
        return;
    record->meter->resuming_us = 0;
    timeline_turn(record->meter, CROWNEST__RECORDS__METER_STATE__METER_STATE_PAUSED,
                  meter_now(record->meter), arena);
}

static void apply_running(Crownest__Records__SandboxRecord *record)
{
    record->sandbox->state = CROWNEST__V1__SANDBOX_STATE__SANDBOX_STATE_RUNNING;
}

/* It has never stood still. */
static void apply_no_pause(void *arg, Crownest__Records__SandboxRecord *record, struct arena *arena)
{
    (void)arg;
    (void)arena;
    apply_running(record);
    if (record->meter)
        timeline_take_back(record->meter, CROWNEST__RECORDS__METER_STATE__METER_STATE_PAUSED);
}

static void apply_resume(void *arg, Crownest__Records__SandboxRecord *record, struct arena *arena)
{
    (void)arg;
    apply_running(record);
    if (!record->meter)
        return;
    record->meter->resuming_us = 0;
    timeline_turn(record->meter, CROWNEST__RECORDS__METER_STATE__METER_STATE_RUNNING,
                  meter_now(record->meter), arena);
}

/*
 * Since when it runs, should the service die before that is recorded. Not synced, since a host that
 * goes down takes the sandbox with it.
 */
static void note_resuming(struct sandbox *sandbox, const struct audit_actor *by)
{
    struct schema_key key = sandbox_record_key(sandbox->project_id, sandbox->id);
    struct arena *arena = arena_new(SANDBOX_ARENA_BYTES);
    Crownest__Records__SandboxRecord *record;
    int r = sandbox_record_read(sandbox->owner, sandbox->project_id, sandbox->id, arena, &record);

    if (r == 0 && record->meter) {
        struct store_batch *batch = store_batch_new();
        struct audit_entry entry = sandbox_entry(record->sandbox, "sandbox.resume", by);

        entry.outcome = AUDIT_BEGUN;
        audit_add(batch, &entry);
        record->meter->resuming_us = meter_now(record->meter);
        record_put(batch, &key, &record->base);
        (void)store_commit(sandbox->owner->store, batch, STORE_UNSYNCED);
    }
    arena_free(arena);
}

/* Waits for those who hold it: they know an end to their waiting. */
static void set_paused(struct sandbox *sandbox, bool paused)
{
    lock_scope(&sandbox->owner->mutex);
    sandbox->paused = paused;
    while (paused && sandbox->held > 0)
        (void)pthread_cond_wait(&sandbox->owner->changed, &sandbox->owner->mutex);
}

/* -EBUSY: it is so already, since an earlier try did not come to record it. */
static struct status freeze(struct sandbox *sandbox, bool frozen)
{
    struct err err = {0};
    int r = sandboxd_set_frozen(sandbox->owner->sandboxd, sandbox->record->jail_id, frozen, &err);
    const char *reason = frozen ? "PAUSE_FAILED" : "RESUME_FAILED";

    FAILPOINT("sandbox.freeze.done");
    if (r == -ECONNRESET || r == -ETIMEDOUT)
        return status_unsure(reason, "%s", err.message);
    if (r < 0 && r != -EBUSY)
        return status_unavailable(reason, "%s", err.message);
    return STATUS_OK_VALUE;
}

/*
 * No new work comes to a sandbox from the moment on in which it is to be paused, and its record
 * says so before anything stands still: after a crash in between it is running, or paused and known
 * to be.
 */
static struct status pause_claimed(struct sandbox *sandbox, const struct audit_actor *by,
                                   struct arena *arena, Crownest__V1__Sandbox **ret_sandbox)
{
    set_paused(sandbox, true);
    struct edit edit = {.apply = apply_pause, .action = "sandbox.pause", .by = by};
    struct status status = edit_record(sandbox, &edit, arena, ret_sandbox);

    if (status_is_ok(&status)) {
        status = freeze(sandbox, true);
        sandbox->unsure = status.admitted == STATUS_ADMITTED_UNKNOWN;
    }
    /* It may stand still, so it is taken for paused until somebody resumes it. */
    if (sandbox->unsure)
        return status;
    if (!status_is_ok(&status)) {
        struct status failure = status;

        edit.apply = apply_no_pause;
        edit.outcome = AUDIT_FAILED;
        (void)edit_record(sandbox, &edit, arena, ret_sandbox);
        set_paused(sandbox, false);
        return failure;
    }
    return status;
}

static struct status resume_claimed(struct sandbox *sandbox, const struct audit_actor *by,
                                    struct arena *arena, Crownest__V1__Sandbox **ret_sandbox)
{
    struct sandboxes *owner = sandbox->owner;
    struct edit edit = {.apply = apply_resume, .action = "sandbox.resume", .by = by};

    note_resuming(sandbox, by);
    struct status status = freeze(sandbox, false);

    sandbox->unsure = true;
    if (status_is_ok(&status))
        status = edit_record(sandbox, &edit, arena, ret_sandbox);
    if (!status_is_ok(&status))
        return status;
    sandbox->unsure = false;
    set_paused(sandbox, false);
    if (sandbox_is_detached(sandbox)) {
        (void)pthread_mutex_lock(&owner->mutex);
        sandbox->detached = false;
        (void)pthread_mutex_unlock(&owner->mutex);
        owner->hooks.reattach(owner->hooks.arg, sandbox);
        nest_hello(sandbox->nest);
    }
    return status;
}

static struct status change_claimed(struct sandbox *sandbox, bool paused,
                                    const struct audit_actor *by, struct arena *arena,
                                    Crownest__V1__Sandbox **ret_sandbox)
{
    struct status status =
        paused ? meter_may_pause(sandbox->metered) : meter_may_resume(sandbox->metered);

    if (!status_is_ok(&status))
        return status;
    return paused ? pause_claimed(sandbox, by, arena, ret_sandbox)
                  : resume_claimed(sandbox, by, arena, ret_sandbox);
}

static struct status change_state(struct sandboxes *sandboxes, const char *project_id,
                                  const char *id, bool paused, const struct audit_actor *by,
                                  struct arena *arena, Crownest__V1__Sandbox **ret_sandbox)
{
    struct sandbox *sandbox = sandbox_claim(sandboxes, project_id, id);
    struct status status;

    if (!sandbox)
        return sandbox_not_running(sandboxes, project_id, id);
    if (sandbox_is_paused(sandbox) == paused && !sandbox->unsure)
        status = sandboxes_get(sandboxes, project_id, id, arena, ret_sandbox);
    else
        status = change_claimed(sandbox, paused, by, arena, ret_sandbox);
    sandbox_release(sandbox);
    return status;
}

struct status sandboxes_pause(struct sandboxes *sandboxes, const char *project_id, const char *id,
                              const struct audit_actor *by, struct arena *arena,
                              Crownest__V1__Sandbox **ret_sandbox)
{
    return change_state(sandboxes, project_id, id, true, by, arena, ret_sandbox);
}

struct status sandboxes_resume(struct sandboxes *sandboxes, const char *project_id, const char *id,
                               const struct audit_actor *by, struct arena *arena,
                               Crownest__V1__Sandbox **ret_sandbox)
{
    return change_state(sandboxes, project_id, id, false, by, arena, ret_sandbox);
}

struct status sandboxes_heartbeat(struct sandboxes *sandboxes, const char *project_id,
                                  const char *id, uint64_t *ret_expire_ms)
{
    struct sandbox *sandbox = sandboxes_find(sandboxes, project_id, id);
    struct status status = STATUS_OK_VALUE;

    if (!sandbox)
        return sandbox_not_running(sandboxes, project_id, id);
    if (sandbox->lease_ms == 0) {
        status = status_at(status_error(STATUS_FAILED_PRECONDITION, "NO_LEASE",
                                        "the sandbox was created without a lease"),
                           "sandbox_id");
    } else if (!loop_disarm(sandboxes->loop, &sandbox->lease)) {
        status = status_at(status_error(STATUS_FAILED_PRECONDITION, "SANDBOX_NOT_RUNNING",
                                        "the lease has run out"),
                           "sandbox_id");
    } else {
        sandbox_lease(sandbox, sandbox->lease_ms);
        sandbox_unref(sandbox); /* of the lease before */
        *ret_expire_ms = clock_wall_ms() + sandbox->lease_ms;
    }
    sandbox_unref(sandbox);
    return status;
}

struct status sandboxes_stats(struct sandboxes *sandboxes, const char *project_id, const char *id,
                              struct arena *arena, struct sandbox_stats *ret_stats)
{
    struct sandbox *sandbox = sandboxes_find(sandboxes, project_id, id);
    struct sandbox_stats stats = {0};
    struct err err = {0};

    if (!sandbox)
        return sandbox_not_running(sandboxes, project_id, id);
    int r = sandboxd_stats(sandboxes->sandboxd, sandbox->record->jail_id, &stats.usage, &err);

    (void)pthread_mutex_lock(&sandboxes->mutex);
    stats.expire_ms = sandbox->expire_ms;
    stats.lease_expire_ms = sandbox->lease_expire_ms;
    (void)pthread_mutex_unlock(&sandboxes->mutex);
    stats.parent_id = arena_strdup(arena, sandbox->record->sandbox->parent_sandbox_id);
    sandbox_unref(sandbox);
    if (r < 0)
        return status_unavailable("STATS_FAILED", "%s", err.message);
    *ret_stats = stats;
    return STATUS_OK_VALUE;
}
