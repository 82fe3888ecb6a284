#include "sandboxd/host_setting.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_zero(const char *text)
{
    return strtol(text, NULL, 10) == 0;
}

/* A heading, and a line for each. */
static bool is_heading_alone(const char *text)
{
    return strchr(text, '\n') == strrchr(text, '\n');
}

/* RLIMIT_CORE does not hold back a dump into a pipe, whose reader runs as the host's root. */
static bool is_no_pipe(const char *text)
{
    return text[0] != '|';
}

#define NUMBER(what, name, least, most, better)                                                    \
    {                                                                                              \
        what, name, least, most, better, NULL, NULL, NULL                                          \
    }

const struct host_setting host_settings[] = {
    NUMBER("kernel addresses hidden", "kernel.kptr_restrict", 1, 2, 1),
    NUMBER("kernel log for root only", "kernel.dmesg_restrict", 1, 1, 1),
    NUMBER("bpf for root only", "kernel.unprivileged_bpf_disabled", 1, 2, 1),
    NUMBER("perf events for root only", "kernel.perf_event_paranoid", 2, 4, 2),
    NUMBER("tracing of child processes only", "kernel.yama.ptrace_scope", 1, 3, 1),
    /* Debian's and Ubuntu's own; other kernels leave it to everybody. */
    NUMBER("user namespaces for root only", "kernel.unprivileged_userns_clone", 0, 0, 0),
    NUMBER("user namespaces by profile only", "kernel.apparmor_restrict_unprivileged_userns", 1, 1,
           1),
    NUMBER("userfaultfd for root only", "vm.unprivileged_userfaultfd", 0, 0, 0),
    /* No limit of a sandbox counts them. */
    NUMBER("no huge pages that sandboxes could take", "vm.nr_hugepages", 0, 0, 0),
    NUMBER("no huge pages on demand", "vm.nr_overcommit_hugepages", 0, 0, 0),
    NUMBER("no dumps of privileged processes", "fs.suid_dumpable", 0, 0, 0),
    {.what = "no program of the host reads core dumps",
     .name = "kernel.core_pattern",
     .path = "/proc/sys/kernel/core_pattern",
     .is_right = is_no_pipe,
     .remedy = "sysctl -w kernel.core_pattern=core"},
    {.what = "no swap, which tenants' memory may reach",
     .name = "swap",
     .path = "/proc/swaps",
     .is_right = is_heading_alone,
     .remedy = "swapoff -a, or encrypt it"},
    {.what = "kernel same-page merging off",
     .name = "ksm",
     .path = "/sys/kernel/mm/ksm/run",
     .is_right = is_zero,
     .remedy = "echo 0 > /sys/kernel/mm/ksm/run"},
};

const size_t host_setting_count = sizeof(host_settings) / sizeof(host_settings[0]);

void host_setting_path(const struct host_setting *setting, char ret_path[HOST_SETTING_PATH_SIZE])
{
    if (setting->path != NULL) {
        (void)snprintf(ret_path, HOST_SETTING_PATH_SIZE, "%s", setting->path);
        return;
    }
    (void)snprintf(ret_path, HOST_SETTING_PATH_SIZE, "/proc/sys/%s", setting->name);
    for (char *dot = strchr(ret_path, '.'); dot != NULL; dot = strchr(dot, '.')) {
        *dot = '/';
    }
}

bool host_setting_is_right(const struct host_setting *setting, const char *text)
{
    if (setting->is_right != NULL) {
        return setting->is_right(text);
    }
    long value = strtol(text, NULL, 10);
    return value >= setting->least && value <= setting->most;
}
