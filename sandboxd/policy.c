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
                .cpu_millis = 10,
                .max_processes = 8},
    .maximum = {.memory_bytes = 64 * GIB,
                .disk_bytes = 256 * GIB,
                .cpu_millis = 64000,
                .max_processes = 32768},
    .max_ptys = 64,
    .max_open_files = 4096,
    .max_inodes = 1048576,
    .bytes_per_inode = 4096,
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
    const char *fault = NULL;
    if (limits->memory_bytes < low->memory_bytes || limits->memory_bytes > high->memory_bytes) {
        fault = "memory_bytes";
    } else if (limits->disk_bytes < low->disk_bytes || limits->disk_bytes > high->disk_bytes) {
        fault = "disk_bytes";
    } else if (limits->cpu_millis < low->cpu_millis || limits->cpu_millis > high->cpu_millis) {
        fault = "cpu_millis";
    } else if (limits->max_processes < low->max_processes ||
               limits->max_processes > high->max_processes) {
        fault = "max_processes";
    }
    if (fault == NULL) {
        return 0;
    }
    sd_err_step(err, "limits");
    return sd_err_set(err, EINVAL, fault);
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
