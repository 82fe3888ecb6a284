/*
 * From time to compute units, and from these to money; all of it in integers, and exact until
 * amount_usd_micros rounds. Pure.
 *
 * The standard runtime (1000 cpu_millis, 512 MiB) is 1000 thousandths of a compute unit. Units are
 * counted in picoseconds of one: a microsecond of the standard runtime is a million of them, and a
 * thousandth of a unit, paused at a thousandth of its price, still is one for each.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "server/meter/pricing.h"

#define AMOUNT_US_PER_S 1000000ULL
#define AMOUNT_PS_PER_US 1000000ULL
#define AMOUNT_PS_PER_S 1000000000000ULL

/* Picoseconds of compute units, and what they cost in parts of a dollar: see amount.c. */
typedef __uint128_t amount_units;
typedef __uint128_t amount_money;

/* Thousandths of a unit: the larger of the two shares, and not less than 1000. */
uint64_t amount_rate_millis(uint32_t cpu_millis, uint64_t memory_bytes);
/* What is used in each microsecond. */
amount_units amount_burn(uint64_t rate_millis, const struct pricing *pricing, bool paused);
amount_units amount_used(uint64_t rate_millis, const struct pricing *pricing, uint64_t running_us,
                         uint64_t paused_us);
/* Whole microseconds of the standard runtime, rounded down. */
uint64_t amount_unit_us(amount_units units);

/* Exact, and may be added. */
amount_money amount_cost(amount_units units, const struct pricing *pricing);
/* The one place that rounds: half up, to a millionth of a dollar. */
uint64_t amount_usd_micros(amount_money money);
