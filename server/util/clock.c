#include "server/util/clock.h"

#include <time.h>

#include "server/util/failpoint.h"

static uint64_t read_us(clockid_t id)
{
    struct timespec now;

    (void)clock_gettime(id, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

uint64_t clock_wall_ms(void)
{
    return clock_wall_us() / 1000;
}

uint64_t clock_wall_us(void)
{
    return read_us(CLOCK_REALTIME) + (uint64_t)FAILPOINT_JUMP("clock.wall");
}

uint64_t clock_boot_us(void)
{
    return read_us(CLOCK_BOOTTIME);
}

uint64_t clock_monotonic_ms(void)
{
    return clock_boot_us() / 1000;
}
