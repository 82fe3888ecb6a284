/*
 * One pass over what is kept for a time only: logs of ended commands, artifacts, tombstones. What
 * it is killed in the middle of, the next one does again.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "server/artifact/artifacts.h"
#include "server/plan/quota.h"
#include "server/store/store.h"

struct sweep {
    struct store *store;
    struct quotas *quotas;             /* may be NULL: plans bound no retention */
    const struct artifacts *artifacts; /* may be NULL: they stay */
    const char *log_directory;
    const atomic_bool *stop; /* once it is true, a pass ends soon */
    uint64_t now_ms;         /* by the wall clock */
};

/* All of it. Returns whether it ended early, for having taken long. */
bool sweep_run(const struct sweep *sweep);

/* The parts of it, each of which returns the same. due_ms: what has ended by then is removed. */

/* log_sweep.c: compresses logs that are cold. */
bool log_compress_cold(const struct sweep *sweep);
/* Removes logs; the commands' records stay. */
bool log_expire(const struct sweep *sweep, const char *project_id, uint64_t due_ms);

/*
 * tombstone_sweep.c: removes records of sandboxes, and with each those of its commands and
 * previews, and their logs. Its artifacts stay.
 */
bool tombstone_expire(const struct sweep *sweep, const char *project_id, uint64_t due_ms);
/* Removes the logs of commands whose records are gone. */
bool tombstone_logs(const struct sweep *sweep);
