#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/cli/check.h"

/*
 * Jails are refused all of this anyhow; here it is a matter of what else runs on the host, of
 * crownestd should it be taken over, and of what a jail's filter may have missed.
 */
static const struct setting {
    const char *name; /* as sysctl has it */
    long least;       /* good from here … */
    long most;        /* … to here */
    long better;
} settings[] = {
    {"kernel.kptr_restrict", 1, 2, 1},
    {"kernel.dmesg_restrict", 1, 1, 1},
    {"kernel.unprivileged_bpf_disabled", 1, 2, 1},
    {"kernel.perf_event_paranoid", 2, 4, 2},
    {"kernel.yama.ptrace_scope", 1, 3, 1},
    {"kernel.unprivileged_userns_clone", 0, 0, 0},
    {"vm.unprivileged_userfaultfd", 0, 0, 0},
    {"vm.nr_hugepages", 0, 0, 0}, /* no limit of a sandbox counts them */
    {"fs.suid_dumpable", 0, 0, 0},
};

static void append(char *text, size_t size, const char *name, long value)
{
    size_t length = strlen(text);

    /* What has no room is named when the first ones are mended. */
    if (length + strlen(name) + 8 < size)
        (void)snprintf(text + length, size - length, " %s=%ld", name, value);
}

static bool is_good(const struct check_context *context, const struct setting *setting,
                    long *ret_value)
{
    char path[128];
    char text[32];

    (void)snprintf(path, sizeof(path), "/proc/sys/%s", setting->name);
    for (char *dot = strchr(path, '.'); dot; dot = strchr(dot, '.'))
        *dot = '/';
    /* A kernel that does not know it cannot have it wrong. */
    if (check_read(context, path, text, sizeof(text)) <= 0)
        return true;
    *ret_value = strtol(text, NULL, 10);
    return *ret_value >= setting->least && *ret_value <= setting->most;
}

void check_settings(const struct check_context *context, struct check_result *result)
{
    char found[sizeof(result->found)] = "";
    char remedy[sizeof(result->remedy)] = "sysctl -w";

    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
        long value = 0;

        if (is_good(context, &settings[i], &value))
            continue;
        append(found, sizeof(found) - strlen("weaker than need be:"), settings[i].name, value);
        append(remedy, sizeof(remedy), settings[i].name, settings[i].better);
    }
    if (found[0])
        check_set(result, CHECK_WARN, remedy, "weaker than need be:%s", found);
    else
        check_set(result, CHECK_OK, "", "the kernel keeps its sharper tools to root");
}
