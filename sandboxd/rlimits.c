#include "sandboxd/rlimits.h"

#include <stddef.h>
#include <sys/resource.h>

#include "sandboxd/init/start.h"

static rlim_t least(rlim_t a, rlim_t b)
{
    return a < b ? a : b;
}

static rlim_t most(rlim_t a, rlim_t b)
{
    return a > b ? a : b;
}

int rlimits_set(const struct sd_policy *policy, const struct sd_limits *limits, struct sd_err *err)
{
    const struct {
        int resource;
        rlim_t value;
        rlim_t init; /* what nest-init may have; commands have the other */
    } values[] = {
        {RLIMIT_CORE, policy->max_core_bytes, 0},
        {RLIMIT_NOFILE, limits->max_open_files, NEST_INIT_FILES},
        {RLIMIT_MEMLOCK, policy->max_locked_bytes, 0},
        {RLIMIT_MSGQUEUE, policy->max_queue_bytes, 0},
        {RLIMIT_SIGPENDING, policy->max_pending_signals, 0},
        {RLIMIT_RTPRIO, 0, 0},
        {RLIMIT_NICE, 0, 0},
    };
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        struct rlimit limit;
        if (getrlimit((__rlimit_resource_t)values[i].resource, &limit) < 0) {
            return sd_err_sys(err, "getrlimit");
        }
        /* A host that is stricter than the policy stays so. */
        limit.rlim_cur = least(limit.rlim_max, values[i].value);
        limit.rlim_max = least(limit.rlim_max, most(values[i].value, values[i].init));
        if (setrlimit((__rlimit_resource_t)values[i].resource, &limit) < 0) {
            return sd_err_sys(err, "setrlimit");
        }
    }
    return 0;
}
