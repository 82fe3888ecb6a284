/*
 * The v1 layout: one hierarchy for each controller. A sandbox has a group in every one that is
 * mounted, with or without limits to set there: whoever is left in a hierarchy's root sees its
 * release_agent.
 */
#include "sandboxd/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <mntent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sandboxd/disk.h"
#include "sandboxd/io.h"

#define MAX_HIERARCHIES 24
#define CPU_PERIOD_USEC 100000ULL
#define SHARES_PER_CPU 1024ULL
#define NSEC_PER_USEC 1000ULL

struct hierarchy {
    char mount[128];
    char options[128]; /* the mount's options, which name its controllers */
};

static struct hierarchy hierarchies[MAX_HIERARCHIES];
static size_t hierarchy_count;

static bool has_controller(const struct hierarchy *h, const char *controller)
{
    struct mntent entry = {.mnt_opts = (char *)(uintptr_t)h->options};
    return hasmntopt(&entry, controller) != NULL;
}

static const struct hierarchy *find(const char *controller)
{
    for (size_t i = 0; i < hierarchy_count; i++) {
        if (has_controller(&hierarchies[i], controller)) {
            return &hierarchies[i];
        }
    }
    return NULL;
}

static int open_group(const struct hierarchy *h, const char *id)
{
    char path[PATH_MAX];
    (void)snprintf(path, sizeof(path), "%s/crownest/%s", h->mount, id);
    int fd = open(path, O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* A new cpuset has no cpu and no memory node, and so no process may enter it. */
static int copy_cpuset(const char *path)
{
    static const char *const FILES[] = {"cpuset.cpus", "cpuset.mems"};
    for (size_t i = 0; i < 2; i++) {
        char from[PATH_MAX];
        char to[PATH_MAX];
        char text[1024];
        if (snprintf(from, sizeof(from), "%s/../%s", path, FILES[i]) >= PATH_MAX ||
            snprintf(to, sizeof(to), "%s/%s", path, FILES[i]) >= PATH_MAX) {
            return -ENAMETOOLONG;
        }
        ssize_t length = io_read_at(AT_FDCWD, from, text, sizeof(text));
        if (length < 0) {
            return (int)length;
        }
        int error = io_write_at(AT_FDCWD, to, text);
        if (error < 0) {
            return error;
        }
    }
    return 0;
}

static int make_group(const struct hierarchy *h, const char *relative)
{
    char path[PATH_MAX];
    (void)snprintf(path, sizeof(path), "%s/%s", h->mount, relative);
    if (mkdir(path, 0755) < 0 && errno != EEXIST) {
        return -errno;
    }
    return has_controller(h, "cpuset") ? copy_cpuset(path) : 0;
}

static int add_hierarchy(const struct mntent *entry, struct sd_err *err)
{
    if (hierarchy_count == MAX_HIERARCHIES ||
        strlen(entry->mnt_dir) >= sizeof(hierarchies[0].mount) ||
        strlen(entry->mnt_opts) >= sizeof(hierarchies[0].options)) {
        return sd_err_set(err, E2BIG, "too many or too long v1 cgroup mounts");
    }
    struct hierarchy *h = &hierarchies[hierarchy_count];
    (void)snprintf(h->mount, sizeof(h->mount), "%s", entry->mnt_dir);
    (void)snprintf(h->options, sizeof(h->options), "%s", entry->mnt_opts);
    for (size_t i = 0; i < hierarchy_count; i++) {
        if (strcmp(hierarchies[i].options, h->options) == 0) {
            return 0; /* the same hierarchy mounted a second time */
        }
    }
    int error = make_group(h, "crownest");
    if (error < 0) {
        return sd_err_set(err, -error, h->mount);
    }
    hierarchy_count++;
    return 0;
}

static int setup(struct sd_err *err)
{
    static const char *const NEEDED[] = {"memory", "cpu", "pids"};
    FILE *mounts = setmntent("/proc/self/mounts", "re");
    if (mounts == NULL) {
        return sd_err_sys(err, "/proc/self/mounts");
    }
    struct mntent entry;
    char line[PATH_MAX];
    int error = 0;
    hierarchy_count = 0;
    while (error == 0 && getmntent_r(mounts, &entry, line, sizeof(line)) != NULL) {
        if (strcmp(entry.mnt_type, "cgroup") == 0) {
            error = add_hierarchy(&entry, err);
        }
    }
    endmntent(mounts);
    for (size_t i = 0; error == 0 && i < sizeof(NEEDED) / sizeof(NEEDED[0]); i++) {
        if (find(NEEDED[i]) == NULL) {
            error = sd_err_set(err, ENOTSUP, NEEDED[i]);
        }
    }
    char path[PATH_MAX];
    (void)snprintf(path, sizeof(path), "%s/crownest", cgroup_tree());
    if (error == 0 && mkdir(path, 0755) < 0 && errno != EEXIST) {
        error = sd_err_sys(err, path);
    }
    return error;
}

static int limit_memory(const char *id, uint64_t bytes, struct sd_err *err)
{
    io_cleanup_fd int dir = open_group(find("memory"), id);
    int error = io_write_number_at(dir, "memory.limit_in_bytes", bytes);
    if (error < 0) {
        return sd_err_set(err, -error, "memory.limit_in_bytes");
    }
    /* Absent where the kernel does not account swap; then swappiness alone keeps it out. */
    error = io_write_number_at(dir, "memory.memsw.limit_in_bytes", bytes);
    if (error < 0 && error != -ENOENT) {
        return sd_err_set(err, -error, "memory.memsw.limit_in_bytes");
    }
    error = io_write_number_at(dir, "memory.swappiness", 0);
    return error < 0 ? sd_err_set(err, -error, "memory.swappiness") : 0;
}

static int set_shares(int dir, uint32_t millis)
{
    return io_write_number_at(dir, "cpu.shares", millis * SHARES_PER_CPU / 1000 + 2);
}

static int limit_cpu(const char *id, uint32_t millis, struct sd_err *err)
{
    io_cleanup_fd int dir = open_group(find("cpu"), id);
    int error = io_write_number_at(dir, "cpu.cfs_period_us", CPU_PERIOD_USEC);
    if (error == 0) {
        error = io_write_number_at(dir, "cpu.cfs_quota_us", millis * CPU_PERIOD_USEC / 1000);
    }
    if (error == 0) {
        error = set_shares(dir, millis);
    }
    return error < 0 ? sd_err_set(err, -error, "cpu.cfs_quota_us") : 0;
}

static int limit_pids(const char *id, uint32_t max, struct sd_err *err)
{
    io_cleanup_fd int dir = open_group(find("pids"), id);
    int error = io_write_number_at(dir, "pids.max", max);
    return error < 0 ? sd_err_set(err, -error, "pids.max") : 0;
}

/* The kernel charges reads and direct writes only: what the page cache writes later is nobody's. */
static int limit_io(const char *id, uint64_t bytes_per_sec, struct sd_err *err)
{
    static const char *const FILES[] = {"blkio.throttle.read_bps_device",
                                        "blkio.throttle.write_bps_device"};
    const struct hierarchy *blkio = find("blkio");
    if (blkio == NULL) {
        return 0; /* sandboxd --check-host says so */
    }
    io_cleanup_fd int dir = open_group(blkio, id);
    for (size_t i = 0; disk_at(i) != NULL; i++) {
        char limit[64];
        (void)snprintf(limit, sizeof(limit), "%s %llu", disk_at(i),
                       (unsigned long long)bytes_per_sec);
        for (size_t f = 0; f < 2; f++) {
            int error = io_write_at(dir, FILES[f], limit);
            if (error < 0) {
                return sd_err_set(err, -error, FILES[f]);
            }
        }
    }
    return 0;
}

static int create(const char *id, const struct sd_limits *limits, struct sd_err *err)
{
    char relative[64];
    (void)snprintf(relative, sizeof(relative), "crownest/%s", id);
    for (size_t i = 0; i < hierarchy_count; i++) {
        int error = make_group(&hierarchies[i], relative);
        if (error == -ENOENT) {
            /* Somebody tidied the empty parent away; it is made at start otherwise. */
            error = make_group(&hierarchies[i], "crownest");
            error = error < 0 ? error : make_group(&hierarchies[i], relative);
        }
        if (error < 0) {
            return sd_err_set(err, -error, hierarchies[i].mount);
        }
    }
    int error = limit_memory(id, limits->memory_bytes, err);
    if (error == 0) {
        error = limit_cpu(id, limits->cpu_millis, err);
    }
    if (error == 0) {
        error = limit_pids(id, limits->max_processes, err);
    }
    return error < 0 ? error : limit_io(id, limits->io_bytes_per_sec, err);
}

static int enter(const char *id, struct sd_err *err)
{
    for (size_t i = 0; i < hierarchy_count; i++) {
        io_cleanup_fd int dir = open_group(&hierarchies[i], id);
        int error = io_write_at(dir, "cgroup.procs", "0");
        if (error < 0) {
            return sd_err_set(err, -error, hierarchies[i].mount);
        }
    }
    return 0;
}

/* Here the v2 tree has no controllers, and so no rule about processes beside child groups. */
static int settle(const char *id, pid_t init, struct sd_err *err)
{
    (void)id;
    (void)init;
    (void)err;
    return 0;
}

static int get_cpu_used(const char *id, uint64_t *ret_usec)
{
    const struct hierarchy *accounting = find("cpuacct");
    unsigned long long nsec = 0;
    if (accounting == NULL) {
        return -ENOTSUP;
    }
    io_cleanup_fd int dir = open_group(accounting, id);
    int error = io_read_number_at(dir, "cpuacct.usage", "", &nsec);
    *ret_usec = nsec / NSEC_PER_USEC;
    return error;
}

static int usage(const char *id, struct cgroup_usage *ret_usage)
{
    struct cgroup_usage found = {0};
    unsigned long long number = 0;
    (void)get_cpu_used(id, &found.cpu_usec);
    io_cleanup_fd int memory = open_group(find("memory"), id);
    if (memory < 0) {
        return memory;
    }
    if (io_read_number_at(memory, "memory.max_usage_in_bytes", "", &number) == 0) {
        found.memory_peak_bytes = number;
    }
    if (io_read_number_at(memory, "memory.usage_in_bytes", "", &number) == 0) {
        found.memory_bytes = number;
    }
    if (io_read_number_at(memory, "memory.oom_control", "oom_kill", &number) == 0) {
        found.oom_kills = (uint32_t)number;
    }
    io_cleanup_fd int pids = open_group(find("pids"), id);
    if (pids >= 0 && io_read_number_at(pids, "pids.current", "", &number) == 0) {
        found.processes = (uint32_t)number;
    }
    *ret_usage = found;
    return 0;
}

static int get_cpu_quota(const char *id, uint32_t *ret_millis)
{
    unsigned long long quota_usec = 0;
    io_cleanup_fd int dir = open_group(find("cpu"), id);
    int error = io_read_number_at(dir, "cpu.cfs_quota_us", "", &quota_usec);
    *ret_millis = (uint32_t)(quota_usec * 1000 / CPU_PERIOD_USEC);
    return error;
}

static int yield(const char *id, const char *cpus)
{
    const struct hierarchy *cpuset = find("cpuset");
    if (cpuset != NULL) {
        io_cleanup_fd int dir = open_group(cpuset, id);
        (void)io_write_at(dir, "cpuset.cpus", cpus);
    }
    io_cleanup_fd int dir = open_group(find("cpu"), id);
    return io_write_at(dir, "cpu.idle", "1");
}

static int stop_yielding(const char *id, uint32_t quota_millis)
{
    const struct hierarchy *cpuset = find("cpuset");
    if (cpuset != NULL) {
        char path[PATH_MAX];
        (void)snprintf(path, sizeof(path), "%s/crownest/%s", cpuset->mount, id);
        (void)copy_cpuset(path);
    }
    io_cleanup_fd int dir = open_group(find("cpu"), id);
    int error = io_write_at(dir, "cpu.idle", "0");
    return error < 0 ? error : set_shares(dir, quota_millis);
}

static int remove_group(const char *id)
{
    int error = 0;
    for (size_t i = 0; i < hierarchy_count; i++) {
        char path[PATH_MAX];
        (void)snprintf(path, sizeof(path), "%s/crownest/%s", hierarchies[i].mount, id);
        if (rmdir(path) < 0 && errno != ENOENT) {
            error = -errno;
        }
    }
    return error;
}

const struct cgroup_layout cgroup_v1 = {
    .name = "v1 hybrid, with a v2 tree beside it",
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
