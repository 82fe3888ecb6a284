/* How long to wait before what has failed is tried again. */
#pragma once

#include <stdint.h>

/*
 * Milliseconds, after so many failures in a row (at least one): twice as many after each, and of
 * that a share that `random` decides, so that what failed together does not come back together.
 */
uint64_t webhook_backoff_ms(unsigned failures, uint64_t random);
