/*
 * What compute units cost. Versions are data: a sandbox stays under the one that was current when
 * it was created, so one that was ever current is never changed or removed. Pure.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct pricing {
    const char *version;
    uint64_t unit_hour_usd_nanos; /* for an hour of the standard runtime */
    uint32_t paused_millis;       /* of that, in thousandths, while a sandbox is paused */
};

/* All of them, oldest first; the last one is what new sandboxes get. */
const struct pricing *pricing_all(size_t *ret_count);
const struct pricing *pricing_current(void);
/* One that this build does not know costs nothing, and has an empty version. */
const struct pricing *pricing_find(const char *version);
