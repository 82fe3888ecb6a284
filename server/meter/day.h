/* Days and months of UTC, as the wall clock's microseconds since 1970. Pure. */
#pragma once

#include <stdint.h>

#define DAY_US 86400000000ULL
#define DAY_TEXT_SIZE 11 /* yyyy-mm-dd and a NUL */

/* The first microsecond of the day, or month, in which this one lies. */
uint64_t day_start(uint64_t wall_us);
uint64_t day_month_start(uint64_t wall_us);
/* The first of the month behind it. */
uint64_t day_next_month(uint64_t wall_us);
/* As 20261127. */
uint32_t day_number(uint64_t wall_us);
/* As 2026-11-27. */
void day_text(uint32_t number, char ret_text[DAY_TEXT_SIZE]);
