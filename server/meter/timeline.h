/*
 * A sandbox's life as points on the clock that counts from the host's start: what it did between
 * them, and how long. No sandbox outlives its host's start, so that clock serves all its life, and
 * a step of the wall clock, which was looked at once, changes no length. Pure.
 *
 * at_us: microseconds behind the anchor, which is the moment it began to run.
 */
#pragma once

#include <stdbool.h>

#include "private/records.pb-c.h"
#include "server/util/arena.h"

struct timeline_sum {
    uint64_t running_us;
    uint64_t paused_us;
};

/* boot_id is copied; in the arena. */
void timeline_begin(Crownest__Records__Meter *meter, uint64_t wall_us, uint64_t boot_us,
                    const char *boot_id, struct arena *arena);
/*
 * What it does from a moment on, which is never before the point that is the last so far. Nothing
 * changes when it does so already, has ended, or never ran.
 */
void timeline_turn(Crownest__Records__Meter *meter, Crownest__Records__MeterState state,
                   uint64_t at_us, struct arena *arena);
/* Takes the last point back if it says that: it did not come to be. */
void timeline_take_back(Crownest__Records__Meter *meter, Crownest__Records__MeterState state);

/* METER_STATE_UNSPECIFIED: it never ran. */
Crownest__Records__MeterState timeline_state(const Crownest__Records__Meter *meter);
/* A moment of the host's clock, never before the last point; 0 for one that never ran. */
uint64_t timeline_at(const Crownest__Records__Meter *meter, uint64_t boot_us);
/* Where it ended, or, while it lives, now_us. */
uint64_t timeline_end(const Crownest__Records__Meter *meter, uint64_t now_us);

/* What lies between two moments; what goes on reaches as far as to_us. */
struct timeline_sum timeline_between(const Crownest__Records__Meter *meter, int64_t from_us,
                                     int64_t to_us);

/* What is wrong with the points, or NULL. ended: whether they ought to have an end. */
const char *timeline_fault(const Crownest__Records__Meter *meter, bool ended);
