/* The thread that removes what has been kept for long enough: one of low priority, one at a time.
 */
#pragma once

#include "server/sandbox/sweep.h"

struct sweeper;

/*
 * Starts the thread; after commands_reconcile. What it works on outlives the sweeper; stop and
 * now_ms are its own.
 */
struct sweeper *sweeper_new(const struct sweep *sweep);
void sweeper_free(struct sweeper *sweeper);
