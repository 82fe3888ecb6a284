/* The two clocks. Deadlines and durations use the monotonic one, records the wall clock. */
#pragma once

#include <stdint.h>

/* Milliseconds since 1970. */
uint64_t clock_wall_ms(void);
/* Microseconds since 1970. */
uint64_t clock_wall_us(void);
/* Milliseconds since boot, suspended time included. */
uint64_t clock_monotonic_ms(void);
/* The same in microseconds. */
uint64_t clock_boot_us(void);
