#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/cli/check.h"

#define TEXT_SIZE 65536
#define PATH_SIZE 4096

static const char *const controllers[] = {"cpu", "memory", "pids"};
#define CONTROLLER_COUNT (sizeof(controllers) / sizeof(controllers[0]))

/* Where cgroups are mounted: what /proc/self/mountinfo says. */
struct mounts {
    char unified[PATH_SIZE]; /* of cgroup2; empty: not mounted */
    char hierarchies[CONTROLLER_COUNT][PATH_SIZE];
    bool read_only[CONTROLLER_COUNT + 1]; /* the last one is cgroup2's */
};

/* Whether a comma-separated list holds a word. */
static bool has_word(const char *list, const char *word)
{
    size_t len = strlen(word);

    for (const char *at = list; at; at = strchr(at, ',')) {
        at += *at == ',';
        if (!strncmp(at, word, len) && (at[len] == ',' || !at[len] || at[len] == '\n'))
            return true;
    }
    return false;
}

/* "36 35 98:0 / POINT OPTIONS [optional fields] - TYPE SOURCE SUPER_OPTIONS" */
static void read_line(char *line, struct mounts *mounts)
{
    char *separator = strstr(line, " - ");
    char point[PATH_SIZE];
    char options[512];
    char type[64];
    char super[512];

    if (!separator || sscanf(line, "%*s %*s %*s %*s %4095s %511s", point, options) != 2 ||
        sscanf(separator, " - %63s %*s %511s", type, super) != 2)
        return;
    bool read_only = has_word(options, "ro") || has_word(super, "ro");
    if (!strcmp(type, "cgroup2")) {
        (void)snprintf(mounts->unified, sizeof(mounts->unified), "%s", point);
        mounts->read_only[CONTROLLER_COUNT] = read_only;
    }
    for (size_t i = 0; i < CONTROLLER_COUNT && !strcmp(type, "cgroup"); i++) {
        if (!has_word(super, controllers[i]))
            continue;
        (void)snprintf(mounts->hierarchies[i], PATH_SIZE, "%s", point);
        mounts->read_only[i] = read_only;
    }
}

static int read_mounts(const struct check_context *context, struct mounts *ret_mounts)
{
    char *text = malloc(TEXT_SIZE);
    long len = text ? check_read(context, "/proc/self/mountinfo", text, TEXT_SIZE) : -1;

    for (char *line = text, *next; len > 0 && line && *line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        read_line(line, ret_mounts);
    }
    free(text);
    return len > 0 ? 0 : -1;
}

static void check_hybrid(const struct mounts *mounts, struct check_result *result)
{
    for (size_t i = 0; i < CONTROLLER_COUNT; i++) {
        if (!mounts->hierarchies[i][0]) {
            check_set(result, CHECK_FAIL, "boot with systemd.unified_cgroup_hierarchy=1",
                      "v1 without the controller %s", controllers[i]);
            return;
        }
        if (mounts->read_only[i]) {
            check_set(result, CHECK_FAIL, "run the service where cgroups are writable",
                      "the v1 controller %s is mounted read-only", controllers[i]);
            return;
        }
    }
    if (!mounts->unified[0] || mounts->read_only[CONTROLLER_COUNT])
        check_set(result, CHECK_WARN, "mount -t cgroup2 none /sys/fs/cgroup/unified",
                  "v1 without a writable v2 tree: killing a tree takes longer");
    else
        check_set(result, CHECK_OK, "", "v1 hybrid: cpu, memory, pids, and a v2 tree");
}

static void check_unified(const struct check_context *context, const struct mounts *mounts,
                          struct check_result *result)
{
    char path[PATH_SIZE + 32];
    char list[512];

    (void)snprintf(path, sizeof(path), "%s/cgroup.controllers", mounts->unified);
    (void)check_read(context, path, list, sizeof(list));
    for (char *at = list; *at; at++)
        if (*at == ' ' || *at == '\n')
            *at = ',';
    for (size_t i = 0; i < CONTROLLER_COUNT; i++) {
        if (has_word(list, controllers[i]))
            continue;
        check_set(result, CHECK_FAIL, "remove cgroup_disable= from the kernel's command line",
                  "v2 without the controller %s", controllers[i]);
        return;
    }
    if (mounts->read_only[CONTROLLER_COUNT])
        check_set(result, CHECK_FAIL, "run the service where cgroups are writable",
                  "v2, but mounted read-only");
    else
        check_set(result, CHECK_OK, "", "v2: cpu, memory, pids");
}

void check_cgroups(const struct check_context *context, struct check_result *result)
{
    struct mounts *mounts = calloc(1, sizeof(*mounts));
    bool hybrid = false;

    if (!mounts || read_mounts(context, mounts)) {
        check_set(result, CHECK_WARN, "is /proc mounted?", "the mounts cannot be read");
        free(mounts);
        return;
    }
    for (size_t i = 0; i < CONTROLLER_COUNT; i++)
        hybrid = hybrid || mounts->hierarchies[i][0];
    if (hybrid)
        check_hybrid(mounts, result);
    else if (mounts->unified[0])
        check_unified(context, mounts, result);
    else
        check_set(result, CHECK_FAIL, "mount -t cgroup2 none /sys/fs/cgroup", "none are mounted");
    free(mounts);
}

static bool has_io_v2(const struct check_context *context)
{
    char list[512];

    (void)check_read(context, "/sys/fs/cgroup/cgroup.controllers", list, sizeof(list));
    for (char *at = list; *at; at++)
        if (*at == ' ' || *at == '\n')
            *at = ',';
    return has_word(list, "io");
}

void check_io(const struct check_context *context, struct check_result *result)
{
    char path[PATH_SIZE];

    (void)snprintf(path, sizeof(path), "%s/sys/fs/cgroup/blkio/blkio.throttle.read_bps_device",
                   context->root);
    if (has_io_v2(context))
        check_set(result, CHECK_OK, "", "reads and writes can be limited");
    else if (!access(path, F_OK))
        check_set(result, CHECK_OK, "", "reads can be limited, and writes that are direct");
    else
        check_set(result, CHECK_WARN, "use a kernel with the io (or blkio) cgroup controller",
                  "limits on io have no effect here");
}
