#include "server/meter/day.h"

#include <stdio.h>
#include <time.h>

#define US_PER_S 1000000ULL

static struct tm civil(uint64_t wall_us)
{
    time_t seconds = (time_t)(wall_us / US_PER_S);
    struct tm tm;

    (void)gmtime_r(&seconds, &tm);
    return tm;
}

uint64_t day_start(uint64_t wall_us)
{
    return wall_us - wall_us % DAY_US;
}

uint64_t day_month_start(uint64_t wall_us)
{
    unsigned day = (unsigned)civil(wall_us).tm_mday;

    return day_start(wall_us) - (day - 1) * DAY_US;
}

uint64_t day_next_month(uint64_t wall_us)
{
    /* The longest month has 31 days, and no month begins between two days of another. */
    return day_month_start(day_month_start(wall_us) + 31 * DAY_US);
}

uint32_t day_number(uint64_t wall_us)
{
    struct tm tm = civil(wall_us);

    return (uint32_t)((tm.tm_year + 1900) * 10000 + (tm.tm_mon + 1) * 100 + tm.tm_mday);
}

void day_text(uint32_t number, char ret_text[DAY_TEXT_SIZE])
{
    (void)snprintf(ret_text, DAY_TEXT_SIZE, "%04u-%02u-%02u", number / 10000 % 10000,
                   number / 100 % 100, number % 100);
}
