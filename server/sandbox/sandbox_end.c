#include "server/sandbox/sandbox_private.h"

#include <errno.h>
#include <string.h>

#include "server/meter/timeline.h"
#include "server/store/record.h"
#include "server/util/cleanup.h"
#include "server/util/clock.h"
#include "server/util/container_of.h"
#include "server/util/failpoint.h"
#include "server/util/limits.h"
#include "server/util/prototime.h"

#define RETRY_MS 1000 /* after an end that failed */

/* The cause without the prefix that protobuf wants. */
static const char *cause_word(Crownest__V1__EndCause cause)
{
    const ProtobufCEnumValue *value =
        protobuf_c_enum_descriptor_get_value(&crownest__v1__end_cause__descriptor, (int)cause);

    return value ? value->name + sizeof("END_CAUSE_") - 1 : "";
}

int sandbox_write_end(struct sandboxes *sandboxes, Crownest__Records__SandboxRecord *record,
                      struct arena *arena, const struct sandbox_ending *ending)
{
    Crownest__V1__EndCause cause = ending->cause;
    Crownest__V1__Sandbox *sandbox = record->sandbox;
    struct schema_key key = sandbox_record_key(sandbox->project_id, sandbox->sandbox_id);
    struct schema_key live = schema_key("live", sandbox->sandbox_id, NULL, NULL);
    struct store_batch *batch = store_batch_new();
    bool intended = cause == CROWNEST__V1__END_CAUSE__END_CAUSE_KILLED ||
                    cause == CROWNEST__V1__END_CAUSE__END_CAUSE_TTL ||
                    cause == CROWNEST__V1__END_CAUSE__END_CAUSE_LEASE ||
                    cause == CROWNEST__V1__END_CAUSE__END_CAUSE_BUDGET ||
                    cause == CROWNEST__V1__END_CAUSE__END_CAUSE_PARENT;

    sandbox->state = intended ? CROWNEST__V1__SANDBOX_STATE__SANDBOX_STATE_KILLED
                              : CROWNEST__V1__SANDBOX_STATE__SANDBOX_STATE_FAILED;
    sandbox->end_cause = cause;
    sandbox->end_detail = arena_strdup(arena, ending->detail);
    sandbox->end_time = prototime_from_us(arena, clock_wall_us());
    sandbox->ended_by = arena_strdup(arena, ending->by ? ending->by->id : "system");
    struct audit_entry entry = sandbox_entry(sandbox, "sandbox.end", ending->by);

    entry.outcome = intended ? AUDIT_OK : AUDIT_FAILED;
    entry.reason = cause_word(cause);
    entry.detail = ending->detail;
    audit_add(batch, &entry);
    meter_settle(sandboxes->meter, ending->metered, record, arena, batch);
    record_put(batch, &key, &record->base);
    record_delete(batch, &live);
    return store_commit(sandboxes->store, batch, STORE_SYNCED);
}
/* What has to end ends, also when sandboxd or the disk could not do it the first time. */
static void try_again_later(struct sandbox *sandbox, Crownest__V1__EndCause cause)
{
    struct sandboxes *owner = sandbox->owner;

    (void)pthread_mutex_lock(&owner->mutex);
    bool stopping = owner->stopping;

    sandbox->end_cause = cause;
    sandbox->end_job_queued = false;
    (void)pthread_mutex_unlock(&owner->mutex);
    if (stopping)
        return;
    (void)sandbox_ref(sandbox);
    loop_arm(owner->loop, &sandbox->ttl, clock_monotonic_ms() + RETRY_MS);
}

static void disarm(struct sandbox *sandbox)
{
    if (loop_disarm(sandbox->owner->loop, &sandbox->ttl))
        sandbox_unref(sandbox);
    if (loop_disarm(sandbox->owner->loop, &sandbox->lease))
        sandbox_unref(sandbox);
}

/* The first to see it says when. */
static void note_gone(struct sandbox *sandbox)
{
    lock_scope(&sandbox->owner->mutex);
    if (!sandbox->gone_us)
        sandbox->gone_us = clock_boot_us();
}

/* One whose creation could not be recorded has no record to end. */
static int record_end(struct sandbox *sandbox, const struct sandbox_ending *ending)
{
    struct arena *arena = arena_new(SANDBOX_ARENA_BYTES);
    struct sandbox_ending metered = *ending;
    Crownest__Records__SandboxRecord *record;
    int r = sandbox_record_read(sandbox->owner, sandbox->project_id, sandbox->id, arena, &record);

    metered.metered = sandbox->metered;
    if (r == 0) {
        record->sandbox->cpu_usec = sandbox->usage.cpu_usec;
        record->sandbox->memory_peak_bytes = sandbox->usage.memory_peak_bytes;
        if (record->meter)
            timeline_turn(record->meter, CROWNEST__RECORDS__METER_STATE__METER_STATE_ENDED,
                          timeline_at(record->meter, sandbox->gone_us), arena);
        r = sandbox_write_end(sandbox->owner, record, arena, &metered);
        if (r == 0)
            meter_note(sandbox->metered, record->meter);
    }
    arena_free(arena);
    return r == -ENOENT ? 0 : r;
}

/*
 * Why, before it is done: should the service die in between, the next one knows. Not synced, since
 * a host that goes down takes the sandbox with it.
 */
static void note_intent(struct sandbox *sandbox, const struct sandbox_ending *ending)
{
    struct schema_key key = sandbox_record_key(sandbox->project_id, sandbox->id);
    struct arena *arena = arena_new(SANDBOX_ARENA_BYTES);
    Crownest__Records__SandboxRecord *record;
    int r = sandbox_record_read(sandbox->owner, sandbox->project_id, sandbox->id, arena, &record);

    if (r == 0 && !record->asked) {
        struct store_batch *batch = store_batch_new();
        struct audit_entry entry =
            sandbox_entry(record->sandbox, ending->by ? "sandbox.kill" : "sandbox.end", ending->by);

        entry.outcome = AUDIT_BEGUN;
        entry.reason = cause_word(ending->cause);
        audit_add(batch, &entry);
        record->asked = ending->cause;
        record->asked_by = arena_strdup(arena, ending->by ? ending->by->id : "");
        record->asked_detail = arena_strdup(arena, ending->detail);
        if (record->meter)
            record->meter->asked_us = meter_now(record->meter);
        record_put(batch, &key, &record->base);
        (void)store_commit(sandbox->owner->store, batch, STORE_UNSYNCED);
    }
    arena_free(arena);
}

/* Those that were tied to it. */
static void end_children(struct sandboxes *sandboxes, const struct sandbox *parent)
{
    struct sandbox *child;
    struct sandbox *next;
    struct sandbox *children[LIMIT_SANDBOXES];
    size_t count = 0;

    (void)pthread_mutex_lock(&sandboxes->mutex);
    HASH_ITER(hh, sandboxes->running, child, next)
    {
        if (count < LIMIT_SANDBOXES && strcmp(child->project_id, parent->project_id) == 0 &&
            strcmp(child->record->sandbox->parent_sandbox_id, parent->id) == 0)
            children[count++] = sandbox_ref(child);
    }
    (void)pthread_mutex_unlock(&sandboxes->mutex);
    for (size_t i = 0; i < count; i++)
        sandbox_queue_end(children[i], CROWNEST__V1__END_CAUSE__END_CAUSE_PARENT);
}

static struct status end_jail(struct sandbox *sandbox)
{
    struct err err = {0};
    int r =
        sandboxd_kill(sandbox->owner->sandboxd, sandbox->record->jail_id, &sandbox->usage, &err);

    if (r < 0)
        return status_unsure("KILL_FAILED", "the sandbox could not be killed: %s", err.message);
    sandbox->jail_gone = true;
    note_gone(sandbox);
    return STATUS_OK_VALUE;
}

/* What an earlier try has done is not done again. */
static struct status end_and_record(struct sandbox *sandbox, const struct sandbox_ending *ending)
{
    struct sandboxes *sandboxes = sandbox->owner;
    struct status status = sandbox->jail_gone ? STATUS_OK_VALUE : end_jail(sandbox);

    if (!status_is_ok(&status))
        return status;
    FAILPOINT("sandbox.end.killed");
    sandboxes->hooks.settle(sandboxes->hooks.arg, sandbox);
    FAILPOINT("sandbox.end.settled");
    return record_end(sandbox, ending) < 0 ? record_write_failed(sandboxes->store)
                                           : STATUS_OK_VALUE;
}

/* Makes the claimed sandbox go, and records the end. */
static struct status end_claimed(struct sandbox *sandbox, const struct sandbox_ending *ending)
{
    struct sandboxes *sandboxes = sandbox->owner;

    disarm(sandbox);
    note_intent(sandbox, ending);
    FAILPOINT("sandbox.end.begun");
    struct status status = end_and_record(sandbox, ending);
    bool ended = status_is_ok(&status);

    FAILPOINT("sandbox.end.recorded");
    if (!ended)
        try_again_later(sandbox, ending->cause);
    (void)pthread_mutex_lock(&sandboxes->mutex);
    if (ended) {
        HASH_DEL(sandboxes->running, sandbox);
        sandboxes->count--;
        meter_forget(sandbox->metered);
        sandbox->metered = NULL;
    } else {
        sandbox->ending = false; /* and the next kill need not wait for that */
    }
    (void)pthread_mutex_unlock(&sandboxes->mutex);
    if (!ended)
        return status;
    struct quota_amounts amounts = sandbox_amounts(sandbox->record->sandbox);

    quota_give(sandboxes->quotas, sandbox->project_id, &amounts);
    end_children(sandboxes, sandbox);
    sandbox_unref(sandbox); /* the table's */
    return STATUS_OK_VALUE;
}

struct status sandbox_end(struct sandboxes *sandboxes, const char *project_id, const char *id,
                          const struct sandbox_ending *ending)
{
    struct sandbox *sandbox = sandbox_claim(sandboxes, project_id, id);

    if (!sandbox)
        return STATUS_OK_VALUE;
    (void)pthread_mutex_lock(&sandboxes->mutex);
    sandbox->ending = true;
    (void)pthread_mutex_unlock(&sandboxes->mutex);
    struct status status = end_claimed(sandbox, ending);

    sandbox_release(sandbox);
    return status;
}

struct status sandboxes_kill(struct sandboxes *sandboxes, const char *project_id, const char *id,
                             const struct audit_actor *by, struct arena *arena,
                             Crownest__V1__Sandbox **ret_sandbox)
{
    struct sandbox_ending ending = {
        .cause = CROWNEST__V1__END_CAUSE__END_CAUSE_KILLED, .detail = "", .by = by};
    struct status status = sandbox_end(sandboxes, project_id, id, &ending);

    if (status_is_ok(&status))
        status = sandboxes_get(sandboxes, project_id, id, arena, ret_sandbox);
    /* It was not among those that run, and has no tombstone either: it does not run yet. */
    if (status_is_ok(&status) && !(*ret_sandbox)->end_time)
        status = status_unavailable("KILL_FAILED", "the sandbox is still being created; try again");
    return status;
}
void sandbox_end_run(struct job *job)
{
    struct sandbox *sandbox = container_of(job, struct sandbox, end_job);
    bool died = sandbox->end_cause == CROWNEST__V1__END_CAUSE__END_CAUSE_INIT_DIED;

    (void)sandbox_end(
        sandbox->owner, sandbox->project_id, sandbox->id,
        &(struct sandbox_ending){.cause = sandbox->end_cause,
                                 .detail = died ? "nest-init ended without having been asked to"
                                                : sandbox->end_detail});
    sandbox_unref(sandbox);
}

void sandbox_queue_end(struct sandbox *sandbox, Crownest__V1__EndCause cause)
{
    struct sandboxes *owner = sandbox->owner;

    (void)pthread_mutex_lock(&owner->mutex);
    bool queue = !sandbox->end_job_queued && !owner->stopping;

    if (queue) {
        sandbox->end_job_queued = true;
        if (!sandbox->end_cause)
            sandbox->end_cause = cause;
    }
    (void)pthread_mutex_unlock(&owner->mutex);
    if (queue)
        workers_submit(owner->workers, &sandbox->end_job);
    else
        sandbox_unref(sandbox);
}
void sandbox_ttl_fire(struct loop_timer *timer)
{
    sandbox_queue_end(container_of(timer, struct sandbox, ttl),
                      CROWNEST__V1__END_CAUSE__END_CAUSE_TTL);
}

void sandbox_lease_fire(struct loop_timer *timer)
{
    sandbox_queue_end(container_of(timer, struct sandbox, lease),
                      CROWNEST__V1__END_CAUSE__END_CAUSE_LEASE);
}

void sandbox_pidfd_ready(struct loop_source *source, uint32_t events)
{
    struct sandbox *sandbox = container_of(source, struct sandbox, pidfd);
    struct sandboxes *owner = sandbox->owner;

    (void)events;
    sandbox->watched = false;
    note_gone(sandbox);
    loop_remove(owner->loop, source);
    owner->hooks.dead(owner->hooks.arg, sandbox);
    (void)pthread_mutex_lock(&owner->mutex);
    bool ending = sandbox->ending;

    (void)pthread_mutex_unlock(&owner->mutex);
    if (ending)
        sandbox_unref(sandbox);
    else
        sandbox_queue_end(sandbox, CROWNEST__V1__END_CAUSE__END_CAUSE_INIT_DIED);
}
