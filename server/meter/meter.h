/*
 * Metering: what each sandbox is billed by. A sandbox's record holds its timeline (timeline.h),
 * which changes only in the batch that records the change of its state; the meter keeps a copy for
 * those that live, and what their bytes come to. When one ends its days are added up into rows, in
 * the batch that writes its tombstone.
 *
 * A restart of the service ends no interval. Of a sandbox that ended while the service was not
 * there, the end is the last moment that the service is known to have been alive: once a second it
 * makes a note of that, which is not synced. Where there is a doubt it is for the user.
 *
 * Functions may be called from any thread but the loop's, and block for the database where they
 * say that they read or write.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "private/records.pb-c.h"
#include "server/store/store.h"
#include "server/util/arena.h"
#include "server/util/id.h"
#include "server/util/status.h"

struct meter;
struct metered; /* one sandbox that lives, or is being created */

/* Called on a thread of the meter's, and must not block. */
struct meter_hooks {
    /* A bucket that pays for a sandbox is empty. Called again as long as the sandbox burns. */
    void (*empty)(void *arg, const char *project_id, const char *sandbox_id,
                  const char *bucket_name, bool pause);
    void *arg;
};

/* Reads when the service was alive last. */
struct meter *meter_new(struct store *store);
/*
 * What an earlier process left behind is settled: reads the buckets; from now on they are watched,
 * and notes are made. 0 or -EIO.
 */
int meter_start(struct meter *meter, const struct meter_hooks *hooks);
/* No hook is called any more. NULL is fine. */
void meter_stop(struct meter *meter);
/* Ends the threads. Nothing may be metered any more but what lives on. NULL is fine. */
void meter_free(struct meter *meter);

/*
 * What a project's plan pays for in a calendar month of UTC, in compute unit seconds: from now on a
 * bucket of the plan's name, which ends what lives when it is empty. 0: the plan has no such bound.
 * After meter_start.
 */
void meter_include(struct meter *meter, const char *project_id, const char *plan,
                   uint64_t unit_seconds);

/* What a new sandbox is billed by, for its record; in the arena. key_id: empty for operators. */
Crownest__Records__Meter *meter_part(const Crownest__V1__Resources *resources, const char *key_id,
                                     struct arena *arena);
/* It begins to run. due_ms: when its TTL ends it, in clock_monotonic_ms. */
void meter_begin(const struct meter *meter, Crownest__Records__Meter *part, uint64_t due_ms,
                 struct arena *arena);
/* Now, behind the anchor of a sandbox that runs or has run. */
uint64_t meter_now(const Crownest__Records__Meter *part);
/*
 * When one ended that nobody saw end. alive: it was found so, and has just been ended for want of
 * time, or since somebody had asked for it.
 */
uint64_t meter_lost(const struct meter *meter, const Crownest__Records__Meter *part, bool alive);

/*
 * Meters one that is about to be created; from now on it burns. RESOURCE_EXHAUSTED BUDGET_EMPTY
 * unless each bucket of it can pay for one second of it beside what burns already.
 */
struct status meter_admit(struct meter *meter, const Crownest__Records__SandboxRecord *record,
                          struct metered **ret_metered);
/* One of an earlier process goes on. Reads what its bytes came to. */
struct metered *meter_adopt(struct meter *meter, const Crownest__Records__SandboxRecord *record);
/* The same for one that is paused and about to go on; NULL is fine. */
struct status meter_may_resume(struct metered *metered);
/* RESOURCE_EXHAUSTED PAUSE_LIMIT; NULL is fine. */
struct status meter_may_pause(struct metered *metered);
/* Its record was changed, and says this now. NULLs are fine. */
void meter_note(struct metered *metered, const Crownest__Records__Meter *part);
/* It has ended, or was never created: frees it. NULL is fine. */
void meter_forget(struct metered *metered);

struct meter_bytes {
    uint64_t log;
    uint64_t artifact;
    uint64_t egress;
};

/* Adds to today's. NULL is fine. */
void meter_count(struct metered *metered, struct meter_bytes bytes);

/*
 * Adds what a preview of one has sent; nothing when it does not live. Does not block. It is written
 * down each second, so that the death of the service may lose a second of it.
 */
void meter_count_egress(struct meter *meter, const char *sandbox_id, uint64_t bytes);

/*
 * Adds the rows of a sandbox whose timeline has ended to the batch that writes its tombstone, and
 * its bytes to the record. metered: NULL for one of an earlier process, whose bytes are read.
 */
void meter_settle(struct meter *meter, struct metered *metered,
                  Crownest__Records__SandboxRecord *record, struct arena *arena,
                  struct store_batch *batch);
