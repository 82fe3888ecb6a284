#include "server/meter/amount.h"

#define STANDARD_MILLIS 1000
#define STANDARD_MEMORY (512ULL << 20)

/* An amount of money is a number of units times a price: this many make a millionth of a dollar. */
#define MONEY_PER_MICRO (AMOUNT_PS_PER_S * 3600 * 1000)

uint64_t amount_rate_millis(uint32_t cpu_millis, uint64_t memory_bytes)
{
    uint64_t whole = memory_bytes / STANDARD_MEMORY * 1000;
    uint64_t rest = memory_bytes % STANDARD_MEMORY * 1000;
    uint64_t memory_millis = whole + (rest + STANDARD_MEMORY - 1) / STANDARD_MEMORY;
    uint64_t rate = cpu_millis > memory_millis ? cpu_millis : memory_millis;

    return rate > STANDARD_MILLIS ? rate : STANDARD_MILLIS;
}

amount_units amount_burn(uint64_t rate_millis, const struct pricing *pricing, bool paused)
{
    return (amount_units)rate_millis * (paused ? pricing->paused_millis : 1000);
}

amount_units amount_used(uint64_t rate_millis, const struct pricing *pricing, uint64_t running_us,
                         uint64_t paused_us)
{
    return running_us * amount_burn(rate_millis, pricing, false) +
           paused_us * amount_burn(rate_millis, pricing, true);
}

uint64_t amount_unit_us(amount_units units)
{
    return (uint64_t)(units / AMOUNT_PS_PER_US);
}

amount_money amount_cost(amount_units units, const struct pricing *pricing)
{
    return units * pricing->unit_hour_usd_nanos;
}

uint64_t amount_usd_micros(amount_money money)
{
    return (uint64_t)((money + MONEY_PER_MICRO / 2) / MONEY_PER_MICRO);
}
