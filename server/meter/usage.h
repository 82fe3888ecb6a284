/*
 * Usage added up: the rows of what has ended, and what lives from memory. A sandbox that ends
 * meanwhile is counted once: of those that lived when the adding began no row is taken.
 */
#pragma once

#include "crownest/v1/usage.pb-c.h"
#include "server/meter/meter.h"

#define USAGE_GROUPS_MAX 10000
#define USAGE_DAYS_MAX 400

struct usage_query {
    const char *project_id;
    uint32_t from_day; /* as day_number, both included */
    uint32_t to_day;
    Crownest__V1__UsageGroup group_by;
    const char *key_id;     /* "": any */
    const char *sandbox_id; /* "": any */
};

/* Reads. Fills groups and total, in the arena. RESOURCE_EXHAUSTED TOO_MANY_GROUPS. */
struct status usage_get(struct meter *meter, const struct usage_query *query, struct arena *arena,
                        Crownest__V1__GetUsageResponse *response);
