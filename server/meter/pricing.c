#include "server/meter/pricing.h"

#include <string.h>

static const struct pricing versions[] = {
    {.version = "2026-11", .unit_hour_usd_nanos = 120000000, .paused_millis = 0},
};

#define COUNT (sizeof(versions) / sizeof(versions[0]))

const struct pricing *pricing_all(size_t *ret_count)
{
    *ret_count = COUNT;
    return versions;
}

const struct pricing *pricing_current(void)
{
    return &versions[COUNT - 1];
}

const struct pricing *pricing_find(const char *version)
{
    static const struct pricing unknown = {.version = ""};

    for (size_t i = 0; i < COUNT; i++) {
        if (strcmp(versions[i].version, version) == 0)
            return &versions[i];
    }
    return &unknown;
}
