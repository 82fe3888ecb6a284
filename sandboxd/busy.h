/*
 * Whoever uses all of its CPU yields to those who do not. A sandbox that had nine tenths of its
 * quota since the last look, of which there are four a second unless the host is quiet, is busy
 * until it has had less than half of it for a second. A busy one runs when nobody else wants to
 * (cpu.idle), and on no more CPUs than its quota fills, so that others find one without it. Its
 * quota stays what it was. Who gets little because of this is not busy for long, so nobody starves.
 * A paused one stays what it is.
 *
 * Why: a fair scheduler has whoever has just run wait for the others, and looks again at its next
 * tick only, 4 ms later on a kernel of 250 Hz. A command of a neighbour is a dozen hand-overs
 * between processes, and takes 2 ms without such a wait: tests/jail/neighbour_bench.c.
 *
 * Single-threaded.
 */
#pragma once

#include "sandboxd/err.h"
#include "sandboxd/sandbox.h"

/* Which CPUs there are. Call once, before all else. */
int busy_init(struct sd_err *err);

/* An earlier sandboxd had this sandbox and may have left it yielding: as long as it is not busy for
 * us, it does not. */
void busy_take_over(struct sandbox *sandbox);

/* Looks at all sandboxes when it is time to. Returns how long the loop may wait, -1 = for ever. */
int busy_check(void);
