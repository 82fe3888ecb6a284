/* The unified layout: limits, usage and processes all live in one tree. */
#include "sandboxd/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "sandboxd/disk.h"
#include "sandboxd/io.h"

#define CPU_PERIOD_USEC 100000ULL
#define WEIGHT_PER_CPU 100ULL
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
    /* Without it busy sandboxes still yield, on all CPUs. */
    (void)io_write_at(AT_FDCWD, path, "+cpuset");
    (void)snprintf(path, sizeof(path), "%s/crownest", cgroup_tree());
    if (mkdir(path, 0755) < 0 && errno != EEXIST) {
        return sd_err_sys(err, path);
    }
    (void)snprintf(path, sizeof(path), "%s/crownest/cgroup.subtree_control", cgroup_tree());
    error = io_write_at(AT_FDCWD, path, CONTROLLERS);
    (void)io_write_at(AT_FDCWD, path, "+cpuset");
    return error < 0 ? sd_err_set(err, -error, path) : 0;
}

static int set_weight(int dir, uint32_t millis)
{
    return io_write_number_at(dir, "cpu.weight", millis * WEIGHT_PER_CPU / 1000 + 1);
}

static int limit_io(int dir, uint64_t bytes_per_sec, struct sd_err *err)
{
    for (size_t i = 0; disk_at(i) != NULL; i++) {
        char limit[96];
        (void)snprintf(limit, sizeof(limit), "%s rbps=%llu wbps=%llu", disk_at(i),
                       (unsigned long long)bytes_per_sec, (unsigned long long)bytes_per_sec);
        int error = io_write_at(dir, "io.max", limit);
        if (error < 0) {
            return sd_err_set(err, -error, "io.max");
        }
    }
    return 0;
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
    if (error == 0) {
        error = set_weight(dir, limits->cpu_millis);
    }
    if (error < 0) {
        return sd_err_set(err, -error, "cpu.max");
    }
    error = io_write_number_at(dir, "pids.max", limits->max_processes);
    return error < 0 ? sd_err_set(err, -error, "pids.max")
                     : limit_io(dir, limits->io_bytes_per_sec, err);
}

/* The v2 tree is entered by cgroup_enter, and there is no other. */
static int enter(const char *id, struct sd_err *err)
{
    (void)id;
    (void)err;
    return 0;
}

/* A group whose children have controllers must have no process of its own. */
static int settle(const char *id, pid_t init, struct sd_err *err)
{
    char path[PATH_MAX];
    path_of(id, "init", path);
    if (mkdir(path, 0755) < 0) {
        return sd_err_sys(err, "make nest-init's cgroup");
    }
    path_of(id, "init/cgroup.procs", path);
    int error = io_write_number_at(AT_FDCWD, path, (unsigned long long)init);
    if (error == 0) {
        error = io_write_at(AT_FDCWD, path, "0");
    }
    if (error < 0) {
        return sd_err_set(err, -error, "leave the sandbox's cgroup");
    }
    path_of(id, "cgroup.subtree_control", path);
    error = io_write_at(AT_FDCWD, path, "+memory");
    return error < 0 ? sd_err_set(err, -error, "count memory for each command") : 0;
}

static int get_cpu_used(const char *id, uint64_t *ret_usec)
{
    char path[PATH_MAX];
    unsigned long long usec = 0;
    path_of(id, "cpu.stat", path);
    int error = io_read_number_at(AT_FDCWD, path, "usage_usec", &usec);
    *ret_usec = usec;
    return error;
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
    (void)get_cpu_used(id, &found.cpu_usec);
    /* memory.peak came with 5.19. */
    if (io_read_number_at(dir, "memory.peak", "", &number) == 0) {
        found.memory_peak_bytes = number;
    }
    if (io_read_number_at(dir, "memory.current", "", &number) == 0) {
        found.memory_bytes = number;
    }
    if (io_read_number_at(dir, "memory.events", "oom_kill", &number) == 0) {
        found.oom_kills = (uint32_t)number;
    }
    if (io_read_number_at(dir, "pids.current", "", &number) == 0) {
        found.processes = (uint32_t)number;
    }
    *ret_usage = found;
    return 0;
}

static int get_cpu_quota(const char *id, uint32_t *ret_millis)
{
    char path[PATH_MAX];
    char text[64];
    path_of(id, "cpu.max", path);
    ssize_t length = io_read_at(AT_FDCWD, path, text, sizeof(text));
    if (length < 0) {
        return (int)length;
    }
    *ret_millis = (uint32_t)(strtoull(text, NULL, 10) * 1000 / CPU_PERIOD_USEC);
    return 0;
}

static int yield(const char *id, const char *cpus)
{
    char path[PATH_MAX];
    path_of(id, "", path);
    io_cleanup_fd int dir = open(path, O_DIRECTORY | O_CLOEXEC);
    (void)io_write_at(dir, "cpuset.cpus", cpus);
    return io_write_at(dir, "cpu.idle", "1");
}

static int stop_yielding(const char *id, uint32_t quota_millis)
{
    char path[PATH_MAX];
    path_of(id, "", path);
    io_cleanup_fd int dir = open(path, O_DIRECTORY | O_CLOEXEC);
    /* An empty line: as those above it. */
    (void)io_write_at(dir, "cpuset.cpus", "\n");
    int error = io_write_at(dir, "cpu.idle", "0");
    return error < 0 ? error : set_weight(dir, quota_millis);
}

/* The directory itself is removed with the rest of the v2 tree, by cgroup_remove. */
static int remove_group(const char *id)
{
    (void)id;
    return 0;
}

const struct cgroup_layout cgroup_v2 = {
    .name = "v2 unified",
    .setup = setup,
    .create = create,
    .enter = enter,
    .settle = settle,
    .usage = usage,
    .get_cpu_used = get_cpu_used,
    .get_cpu_quota = get_cpu_quota,
    .yield = yield,
    .stop_yielding = stop_yielding,
    .remove = remove_group,
};
