#include "sandboxd/policy.h"

#include <errno.h>
#include <string.h>

#define MIB (1024ULL * 1024)
#define GIB (1024 * MIB)

#define ID_PREFIX "sbx_"
#define ID_LENGTH 30

/*
 * The uid range lies between what systemd hands to its containers (up to 1879048191) and 2^31,
 * above which some file systems and tools misread ids.
 */
static const struct sd_policy POLICY = {
    .uid_base = 1879048192U,
    .max_sandboxes = SD_MAX_SANDBOXES,
    .max_builders = 16,
    .build_deadline_ms = 10000,
    .minimum = {.memory_bytes = 16 * MIB,
                .disk_bytes = 1 * MIB,
                .disk_inodes = 64,
                .io_bytes_per_sec = 1 * MIB,
                .cpu_millis = 10,
                .max_processes = 8,
                .max_open_files = 64,
                .max_ptys = 1},
    .maximum = {.memory_bytes = 64 * GIB,
                .disk_bytes = 256 * GIB,
                .disk_inodes = 16 * MIB,
                .io_bytes_per_sec = 64 * GIB,
                .cpu_millis = 64000,
                .max_processes = 32768,
                .max_open_files = 65536,
                .max_ptys = 256},
    .max_core_bytes = 0,
    .max_locked_bytes = 64 * 1024,
    .max_queue_bytes = 819200,
    .max_pending_signals = 4096,
};

const struct sd_policy *policy_get(void)
{
    return &POLICY;
}

int policy_check_limits(const struct sd_policy *policy, const struct sd_limits *limits,
                        struct sd_err *err)
{
    const struct sd_limits *low = &policy->minimum;
    const struct sd_limits *high = &policy->maximum;
#define BOUND(field)                                                                               \
    {                                                                                              \
#field, limits->field, low->field, high->field                                             \
    }
    const struct {
        const char *name;
        uint64_t value;
        uint64_t low;
        uint64_t high;
    } bounds[] = {BOUND(memory_bytes),     BOUND(disk_bytes), BOUND(disk_inodes),
                  BOUND(io_bytes_per_sec), BOUND(cpu_millis), BOUND(max_processes),
                  BOUND(max_open_files),   BOUND(max_ptys)};
#undef BOUND
    for (size_t i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++) {
        if (bounds[i].value < bounds[i].low || bounds[i].value > bounds[i].high) {
            sd_err_step(err, "limits");
            return sd_err_set(err, EINVAL, bounds[i].name);
        }
    }
    return 0;
}

bool policy_id_is_valid(const char id[SD_ID_SIZE])
{
    if (memcmp(id, ID_PREFIX, strlen(ID_PREFIX)) != 0) {
        return false;
    }
    for (size_t i = strlen(ID_PREFIX); i < ID_LENGTH; i++) {
        if (id[i] == '\0' || strchr("0123456789abcdefghjkmnpqrstvwxyz", id[i]) == NULL) {
            return false;
        }
    }
    for (size_t i = ID_LENGTH; i < SD_ID_SIZE; i++) {
        if (id[i] != '\0') {
            return false;
        }
    }
    return true;
}
