/* What the service finds when it starts: sandboxes that went on without it, and records of others.
 */
#include "server/sandbox/sandbox_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/meter/timeline.h"
#include "server/store/record.h"
#include "server/util/clock.h"
#include "server/util/failpoint.h"
#include "server/util/limits.h"
#include "server/util/prototime.h"

#define LEASE_GRACE_MS 5000 /* for an owner to find the service again */

/* Of the inventory. */
struct found {
    char jail_id[SD_ID_SIZE];
    uint32_t state; /* enum sd_state */
    bool claimed;
    UT_hash_handle hh;
};

struct reconcile {
    struct sandboxes *sandboxes;
    struct found *found; /* by jail_id */
};

static void note_found(void *arg, const struct sd_reply *entry)
{
    struct reconcile *reconcile = arg;
    struct found *found = calloc(1, sizeof(*found));

    if (!found)
        abort();
    memcpy(found->jail_id, entry->sandbox, SD_ID_SIZE);
    found->state = entry->state;
    HASH_ADD_STR(reconcile->found, jail_id, found);
}

static int remove_jail(struct sandboxes *sandboxes, const char *jail_id, struct sd_reply *ret_usage)
{
    *ret_usage = (struct sd_reply){0};
    return sandboxd_kill(sandboxes->sandboxd, jail_id, ret_usage, NULL);
}

static uint64_t left_ms(const Crownest__V1__Sandbox *sandbox)
{
    uint64_t expire = prototime_ms(sandbox->expire_time);
    uint64_t now = clock_wall_ms();

    return expire > now ? expire - now : 0;
}

/* It lives, and its record says that it should. */
static int adopt(struct sandboxes *sandboxes, const Crownest__Records__SandboxRecord *record,
                 bool frozen)
{
    int fds[SD_FD_COUNT];
    int r = sandboxd_adopt(sandboxes->sandboxd, record->jail_id, fds, NULL);

    FAILPOINT("sandbox.reconcile.adopted");
    if (r < 0)
        return r;
    struct sandbox *sandbox = sandbox_new(sandboxes, fds, record);

    /* From here on what is counted more is somebody's. */
    (void)sandbox_ran_out_of_memory(sandbox);
    sandbox->paused = frozen;
    sandbox->detached = frozen;
    sandbox->metered = meter_adopt(sandboxes->meter, record);
    sandboxes->count++;
    struct quota_amounts amounts = sandbox_amounts(record->sandbox);

    quota_add(sandboxes->quotas, sandbox->project_id, &amounts);
    sandbox_start(sandbox, clock_monotonic_ms() + left_ms(record->sandbox));
    if (sandbox->lease_ms > 0)
        sandbox_lease(sandbox,
                      sandbox->lease_ms > LEASE_GRACE_MS ? sandbox->lease_ms : LEASE_GRACE_MS);
    return 0;
}

static int bury(struct sandboxes *sandboxes, Crownest__Records__SandboxRecord *record,
                struct arena *arena, const struct found *found)
{
    Crownest__V1__EndCause cause = CROWNEST__V1__END_CAUSE__END_CAUSE_HOST_LOST;
    const char *detail = "nothing was left of it when the service started";
    struct sd_reply usage = {0};

    bool alive = found && (found->state == SD_STATE_RUNNING || found->state == SD_STATE_FROZEN);

    if (found && remove_jail(sandboxes, found->jail_id, &usage) < 0)
        return -EIO;
    FAILPOINT("sandbox.reconcile.removed");
    if (record->asked) {
        cause = record->asked;
        detail = record->asked_detail;
    } else if (record->sandbox->state == CROWNEST__V1__SANDBOX_STATE__SANDBOX_STATE_CREATING) {
        cause = CROWNEST__V1__END_CAUSE__END_CAUSE_CREATE_FAILED;
        detail = "the service was restarted before it was complete";
    } else if (left_ms(record->sandbox) == 0) {
        cause = CROWNEST__V1__END_CAUSE__END_CAUSE_TTL;
        detail = "it passed while the service was down";
    } else if (found) {
        cause = CROWNEST__V1__END_CAUSE__END_CAUSE_INIT_DIED;
        detail = "nest-init ended while the service was down";
    }
    record->sandbox->cpu_usec = usage.cpu_usec;
    record->sandbox->memory_peak_bytes = usage.memory_peak_bytes;
    if (record->meter)
        timeline_turn(record->meter, CROWNEST__RECORDS__METER_STATE__METER_STATE_ENDED,
                      meter_lost(sandboxes->meter, record->meter, alive), arena);
    struct audit_actor by = {0};

    (void)snprintf(by.id, sizeof(by.id), "%s", record->asked_by);
    return sandbox_write_end(
        sandboxes, record, arena,
        &(struct sandbox_ending){.cause = cause, .detail = detail, .by = by.id[0] ? &by : NULL});
}

/* What was paused and runs was about to be resumed, or was never stopped. */
static void settle_meter(const struct sandboxes *sandboxes, Crownest__Records__Meter *part,
                         bool frozen, struct arena *arena)
{
    if (frozen)
        timeline_turn(part, CROWNEST__RECORDS__METER_STATE__METER_STATE_PAUSED,
                      meter_lost(sandboxes->meter, part, false), arena);
    else if (part->resuming_us)
        timeline_turn(part, CROWNEST__RECORDS__METER_STATE__METER_STATE_RUNNING, part->resuming_us,
                      arena);
    else
        timeline_take_back(part, CROWNEST__RECORDS__METER_STATE__METER_STATE_PAUSED);
    part->resuming_us = 0;
}

/* Pausing is recorded before it is done, and resuming afterwards: what is done counts. */
static int settle_state(struct sandboxes *sandboxes, Crownest__Records__SandboxRecord *record,
                        bool frozen, struct arena *arena)
{
    Crownest__V1__Sandbox *sandbox = record->sandbox;
    struct schema_key key = sandbox_record_key(sandbox->project_id, sandbox->sandbox_id);
    Crownest__V1__SandboxState state = frozen ? CROWNEST__V1__SANDBOX_STATE__SANDBOX_STATE_PAUSED
                                              : CROWNEST__V1__SANDBOX_STATE__SANDBOX_STATE_RUNNING;

    if (sandbox->state == state)
        return 0;
    struct audit_entry entry =
        sandbox_entry(sandbox, frozen ? "sandbox.pause" : "sandbox.resume", NULL);
    struct store_batch *batch = store_batch_new();

    FAILPOINT("sandbox.reconcile.restated");
    entry.detail = "found so when the service started";
    audit_add(batch, &entry);
    sandbox->state = state;
    if (record->meter)
        settle_meter(sandboxes, record->meter, frozen, arena);
    record_put(batch, &key, &record->base);
    return store_commit(sandboxes->store, batch, STORE_SYNCED);
}

static int settle(struct reconcile *reconcile, Crownest__Records__SandboxRecord *record,
                  struct arena *arena)
{
    struct sandboxes *sandboxes = reconcile->sandboxes;
    struct found *found;

    HASH_FIND_STR(reconcile->found, record->jail_id, found);
    if (found)
        found->claimed = true;
    bool frozen = found && found->state == SD_STATE_FROZEN;
    bool alive = frozen || (found && found->state == SD_STATE_RUNNING);
    bool whole = record->sandbox->state != CROWNEST__V1__SANDBOX_STATE__SANDBOX_STATE_CREATING;

    /* What was about to end is ended now. */
    if (!alive || !whole || record->asked || left_ms(record->sandbox) == 0)
        return bury(sandboxes, record, arena, found);
    int r = settle_state(sandboxes, record, frozen, arena);

    if (r == 0 && adopt(sandboxes, record, frozen) < 0)
        r = bury(sandboxes, record, arena, found);
    return r;
}

static int settle_one(void *arg, const char *project_id, const char *id)
{
    struct reconcile *reconcile = arg;
    struct arena *arena = arena_new(SANDBOX_ARENA_BYTES);
    Crownest__Records__SandboxRecord *record;
    int r = sandbox_record_read(reconcile->sandboxes, project_id, id, arena, &record);

    if (r == 0)
        r = settle(reconcile, record, arena);
    arena_free(arena);
    return r;
}

/* Jails that were ready for a sandbox to come, or belong to one whose record was never written. */
static int remove_unclaimed(struct reconcile *reconcile)
{
    struct found *found;
    struct found *next;
    int result = 0;

    HASH_ITER(hh, reconcile->found, found, next)
    {
        struct sd_reply usage;

        if (!found->claimed && remove_jail(reconcile->sandboxes, found->jail_id, &usage) < 0)
            result = -EIO;
        HASH_DEL(reconcile->found, found);
        free(found);
    }
    return result;
}

/* A parent that was not adopted takes its children with it. */
static void end_orphans(struct sandboxes *sandboxes)
{
    struct sandbox *sandbox;
    struct sandbox *next;
    struct sandbox *orphans[LIMIT_SANDBOXES];
    size_t count = 0;

    (void)pthread_mutex_lock(&sandboxes->mutex);
    HASH_ITER(hh, sandboxes->running, sandbox, next)
    {
        const char *parent = sandbox->record->sandbox->parent_sandbox_id;

        if (count < LIMIT_SANDBOXES && parent[0] &&
            !sandbox_find(sandboxes, sandbox->project_id, parent))
            orphans[count++] = sandbox_ref(sandbox);
    }
    (void)pthread_mutex_unlock(&sandboxes->mutex);
    for (size_t i = 0; i < count; i++)
        sandbox_queue_end(orphans[i], CROWNEST__V1__END_CAUSE__END_CAUSE_PARENT);
}

int sandboxes_reconcile(struct sandboxes *sandboxes, struct err *err)
{
    struct reconcile reconcile = {.sandboxes = sandboxes};
    int r = sandboxd_inventory(sandboxes->sandboxd, note_found, &reconcile, err);

    if (r < 0)
        return r;
    FAILPOINT("sandbox.reconcile.listed");
    r = record_each(sandboxes->store, "live", settle_one, &reconcile);
    FAILPOINT("sandbox.reconcile.settled");
    if (remove_unclaimed(&reconcile) < 0 || r < 0)
        return err_set(err, EIO, "sandboxes of an earlier process could not be taken over");
    return 0;
}

void sandboxes_greet(struct sandboxes *sandboxes)
{
    struct sandbox *sandbox;
    struct sandbox *next;

    (void)pthread_mutex_lock(&sandboxes->mutex);
    HASH_ITER(hh, sandboxes->running, sandbox, next)
    {
        if (!sandbox->detached)
            nest_hello(sandbox->nest);
    }
    (void)pthread_mutex_unlock(&sandboxes->mutex);
    end_orphans(sandboxes);
}
