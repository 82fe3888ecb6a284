/* The unified layout: limits, usage and processes all live in one tree. */
#include "sandboxd/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

#include "sandboxd/io.h"

#define CPU_PERIOD_USEC 100000ULL
static const char CONTROLLERS[] = "+cpu +memory +pids +io";

static void path_of(const char *id, const char *file, char ret_path[PATH_MAX])
{
    (void)snprintf(ret_path, PATH_MAX, "%s/crownest/%s/%s", cgroup_tree(), id, file);
}

static int setup(struct sd_err *err)
{
    char path[PATH_MAX];
    (void)snprintf(path, sizeof(path), "%s/cgroup.subtree_control", cgroup_tree());
    int error = io_write_at(AT_FDCWD, path, CONTROLLERS);
    if (error < 0) {
        return sd_err_set(err, -error, "enable controllers at the root of the v2 tree");
    }
    (void)snprintf(path, sizeof(path), "%s/crownest", cgroup_tree());
    if (mkdir(path, 0755) < 0 && errno != EEXIST) {
        return sd_err_sys(err, path);
    }
    (void)snprintf(path, sizeof(path), "%s/crownest/cgroup.subtree_control", cgroup_tree());
    error = io_write_at(AT_FDCWD, path, CONTROLLERS);
    return error < 0 ? sd_err_set(err, -error, path) : 0;
}

static int create(const char *id, const struct sd_limits *limits, struct sd_err *err)
{
    char path[PATH_MAX];
    path_of(id, "", path);
    io_cleanup_fd int dir = open(path, O_DIRECTORY | O_CLOEXEC);
    if (dir < 0) {
        return sd_err_sys(err, "open cgroup");
    }
    char cpu[64];
    (void)snprintf(cpu, sizeof(cpu), "%llu %llu", limits->cpu_millis * CPU_PERIOD_USEC / 1000,
                   CPU_PERIOD_USEC);
    int error = io_write_number_at(dir, "memory.max", limits->memory_bytes);
    if (error < 0) {
        return sd_err_set(err, -error, "memory.max");
    }
    /* Absent on hosts without swap. */
    error = io_write_at(dir, "memory.swap.max", "0");
    if (error < 0 && error != -ENOENT) {
        return sd_err_set(err, -error, "memory.swap.max");
    }
    error = io_write_at(dir, "cpu.max", cpu);
    if (error < 0) {
        return sd_err_set(err, -error, "cpu.max");
    }
    error = io_write_number_at(dir, "pids.max", limits->max_processes);
    return error < 0 ? sd_err_set(err, -error, "pids.max") : 0;
}

/* The v2 tree is entered by cgroup_enter, and there is no other. */
static int enter(const char *id, struct sd_err *err)
{
    (void)id;
    (void)err;
    return 0;
}

static int usage(const char *id, struct cgroup_usage *ret_usage)
{
    char path[PATH_MAX];
    path_of(id, "", path);
    io_cleanup_fd int dir = open(path, O_DIRECTORY | O_CLOEXEC);
    if (dir < 0) {
        return -errno;
    }
    unsigned long long number = 0;
    struct cgroup_usage found = {0};
    if (io_read_number_at(dir, "cpu.stat", "usage_usec", &number) == 0) {
        found.cpu_usec = number;
    }
    /* memory.peak came with 5.19. */
    if (io_read_number_at(dir, "memory.peak", "", &number) == 0) {
        found.memory_peak_bytes = number;
    }
    if (io_read_number_at(dir, "memory.events", "oom_kill", &number) == 0) {
        found.oom_kills = (uint32_t)number;
    }
    *ret_usage = found;
    return 0;
}

/* The directory itself is removed with the rest of the v2 tree, by cgroup_remove. */
static int remove_group(const char *id)
{
    (void)id;
    return 0;
}

const struct cgroup_layout cgroup_v2 = {
    .setup = setup,
    .create = create,
    .enter = enter,
    .usage = usage,
    .remove = remove_group,
};
