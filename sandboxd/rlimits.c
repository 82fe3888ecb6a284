#include "sandboxd/rlimits.h"

#include <stddef.h>
#include <sys/resource.h>

int rlimits_set(const struct sd_policy *policy, const struct sd_limits *limits, struct sd_err *err)
{
    const struct {
        int resource;
        rlim_t value;
    } values[] = {
        {RLIMIT_CORE, policy->max_core_bytes},
        {RLIMIT_NOFILE, limits->max_open_files},
        {RLIMIT_MEMLOCK, policy->max_locked_bytes},
        {RLIMIT_MSGQUEUE, policy->max_queue_bytes},
        {RLIMIT_SIGPENDING, policy->max_pending_signals},
        {RLIMIT_RTPRIO, 0},
        {RLIMIT_NICE, 0},
    };
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        struct rlimit limit;
        if (getrlimit((__rlimit_resource_t)values[i].resource, &limit) < 0) {
            return sd_err_sys(err, "getrlimit");
        }
        /* A host that is stricter than the policy stays so. */
        if (limit.rlim_max > values[i].value) {
            limit.rlim_max = values[i].value;
        }
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit((__rlimit_resource_t)values[i].resource, &limit) < 0) {
            return sd_err_sys(err, "setrlimit");
        }
    }
    return 0;
}
