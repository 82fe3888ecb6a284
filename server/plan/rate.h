/*
 * A token bucket in one number: so many events in a window may come at once, and as many in each
 * window that follows. Pure arithmetic; the caller has the lock and the clock.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Zero is a full bucket. */
struct rate {
    uint64_t due_ns; /* when it is full again, on the monotonic clock */
};

/* How many could come now. per_window: > 0. */
uint32_t rate_left(const struct rate *rate, uint32_t per_window, uint64_t window_ns,
                   uint64_t now_ns);
/* Takes one; else ret_wait_ns is when there will be one. */
bool rate_take(struct rate *rate, uint32_t per_window, uint64_t window_ns, uint64_t now_ns,
               uint64_t *ret_wait_ns);
/* Puts one back that was taken for nothing. */
void rate_give(struct rate *rate, uint32_t per_window, uint64_t window_ns);
