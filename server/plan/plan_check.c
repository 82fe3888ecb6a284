#include "server/plan/plan_check.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>

#include "server/plan/plan.h"
#include "server/util/limits.h"
#include "server/util/prototime.h"

#define AMOUNT_MAX (1ULL << 60) /* far from where sums of them would overflow */

enum width { WIDTH_32, WIDTH_64, WIDTH_DURATION };

/* What a field may be when it is there; of a duration in seconds. */
struct range {
    const char *field;
    size_t offset;
    enum width width;
    uint64_t min;
    uint64_t max;
};

#define NUMBER_32(name, min, max)                                                                  \
    {                                                                                              \
#name, offsetof(Crownest__V1__Plan, name), WIDTH_32, min, max                              \
    }
#define NUMBER_64(name, min, max)                                                                  \
    {                                                                                              \
#name, offsetof(Crownest__V1__Plan, name), WIDTH_64, min, max                              \
    }
#define DURATION(name, max)                                                                        \
    {                                                                                              \
#name, offsetof(Crownest__V1__Plan, name), WIDTH_DURATION, 1, max                          \
    }

static const struct range ranges[] = {
    NUMBER_32(max_sandboxes, 1, LIMIT_SANDBOXES),
    DURATION(max_ttl, LIMIT_TTL_S),
    NUMBER_64(max_memory_bytes, LIMIT_MEMORY_MIN, LIMIT_MEMORY_MAX),
    NUMBER_32(max_cpu_millis, LIMIT_CPU_MILLIS_MIN, LIMIT_CPU_MILLIS_MAX),
    NUMBER_32(max_processes, LIMIT_PROCESSES_MIN, LIMIT_PROCESSES_MAX),
    NUMBER_64(max_disk_bytes, LIMIT_DISK_MIN, LIMIT_DISK_MAX),
    NUMBER_64(max_total_memory_bytes, LIMIT_MEMORY_MIN, LIMIT_SANDBOXES *LIMIT_MEMORY_MAX),
    NUMBER_64(max_total_cpu_millis, LIMIT_CPU_MILLIS_MIN,
              (uint64_t)LIMIT_SANDBOXES *LIMIT_CPU_MILLIS_MAX),
    NUMBER_32(creates_per_minute, 1, 1000000),
    NUMBER_32(calls_per_second, 1, 1000000),
    NUMBER_32(max_commands, 1, LIMIT_SANDBOXES *LIMIT_COMMANDS_PER_SANDBOX),
    NUMBER_64(max_artifact_bytes, 1, AMOUNT_MAX),
    DURATION(max_log_retention, LIMIT_RETENTION_S),
    DURATION(max_artifact_retention, LIMIT_RETENTION_S),
    DURATION(max_tombstone_retention, LIMIT_RETENTION_S),
    NUMBER_32(max_keys, 1, 1000000),
    NUMBER_64(included_unit_seconds, 1, 1000000000000ULL),
};

static struct status invalid(const Crownest__V1__Plan *plan, size_t index, const char *field,
                             const char *allowed)
{
    char at[64];

    (void)snprintf(at, sizeof(at), "plans[%zu].%s", index, field);
    return status_invalid(at, "PLAN_INVALID", "the plan `%.40s`: %s %s", plan->name, field,
                          allowed);
}

static bool in_range(const struct range *range, const void *at)
{
    const Google__Protobuf__Duration *duration = NULL;
    uint64_t value = 0;

    switch (range->width) {
    case WIDTH_32:
        value = *(const uint32_t *)at;
        return value == 0 || (value >= range->min && value <= range->max);
    case WIDTH_64:
        value = *(const uint64_t *)at;
        return value == 0 || (value >= range->min && value <= range->max);
    case WIDTH_DURATION:
        duration = *(Google__Protobuf__Duration *const *)at;
        return !duration || (protoduration_ms(duration, range->max * 1000, &value) == 0 &&
                             value >= range->min * 1000);
    }
    return false;
}

struct status plan_check(const Crownest__V1__Plan *plan, size_t index)
{
    char allowed[128];

    if (!plan_name_valid(plan->name))
        return invalid(plan, index, "name", "is [a-z][a-z0-9-]*, at most 40 characters");
    for (size_t i = 0; i < sizeof(ranges) / sizeof(*ranges); i++) {
        const struct range *range = &ranges[i];

        if (in_range(range, (const char *)plan + range->offset))
            continue;
        (void)snprintf(allowed, sizeof(allowed),
                       "is from %" PRIu64 " to %" PRIu64 "%s, or left out for no bound", range->min,
                       range->max, range->width == WIDTH_DURATION ? " seconds" : "");
        return invalid(plan, index, range->field, allowed);
    }
    return STATUS_OK_VALUE;
}
