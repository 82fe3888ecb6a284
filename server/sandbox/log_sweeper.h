/*
 * What becomes of the logs of ended commands: compressed once they are cold, removed when their
 * project's retention has passed. One thread of low priority does one log at a time; whatever it
 * is killed in the middle of, the next one does again. The command's record stays.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "server/store/store.h"

struct log_sweeper;

struct log_sweep {
    struct store *store;
    const char *log_directory;
    const atomic_bool *stop; /* once it is true, a pass ends soon */
    uint64_t now_ms;         /* by the wall clock */
};

/* Starts the thread; after commands_reconcile. The store outlives the sweeper. */
struct log_sweeper *log_sweeper_new(struct store *store, const char *log_directory);
void log_sweeper_free(struct log_sweeper *sweeper);

/* One pass. Returns whether it ended early, for having taken long. */
bool log_sweep(const struct log_sweep *sweep);
