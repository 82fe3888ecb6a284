#include "sandboxd/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "sandboxd/init/wire.h"
#include "sandboxd/io.h"
#include "sandboxd/policy.h"

#define CGROUP_ROOT "/sys/fs/cgroup"
/* Commands, nest-init's own group, and some that it keeps ready or has not removed yet. */
#define MAX_DESCENDANTS (NEST_MAX_COMMANDS + 16)

static const struct cgroup_layout *layout;
static const char *tree;

static bool is_v2(const char *path)
{
    struct statfs fs;
    return statfs(path, &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC;
}

int cgroup_init(struct sd_err *err)
{
    if (is_v2(CGROUP_ROOT)) {
        layout = &cgroup_v2;
        tree = CGROUP_ROOT;
    } else if (is_v2(CGROUP_ROOT "/unified")) {
        layout = &cgroup_v1;
        tree = CGROUP_ROOT "/unified";
    } else {
        return sd_err_set(err, ENOTSUP, "no cgroup v2 tree at " CGROUP_ROOT "[/unified]");
    }
    return layout->setup(err);
}

const char *cgroup_layout_name(void)
{
    return layout == NULL ? NULL : layout->name;
}

const char *cgroup_tree(void)
{
    return tree;
}

static void tree_path(const char *id, const char *leaf, char ret_path[PATH_MAX])
{
    (void)snprintf(ret_path, PATH_MAX, "%s/crownest/%s%s%s", tree, id, leaf[0] != '\0' ? "/" : "",
                   leaf);
}

/* The owner may make child groups and move its own processes between them, and nothing else. */
static int delegate(const char *path, uid_t owner, gid_t group, struct sd_err *err)
{
    io_cleanup_fd int dir = open(path, O_DIRECTORY | O_CLOEXEC);
    if (dir < 0) {
        return sd_err_sys(err, "open delegated cgroup");
    }
    int error = io_write_number_at(dir, "cgroup.max.descendants", MAX_DESCENDANTS);
    if (error == 0) {
        error = io_write_number_at(dir, "cgroup.max.depth", 1);
    }
    if (error < 0) {
        return sd_err_set(err, -error, "bound delegated cgroup");
    }
    if (fchown(dir, owner, group) < 0 ||
        fchownat(dir, "cgroup.procs", owner, group, AT_SYMLINK_NOFOLLOW) < 0) {
        return sd_err_sys(err, "hand over delegated cgroup");
    }
    return 0;
}

int cgroup_create(const char *id, const struct sd_limits *limits, uid_t owner, gid_t group,
                  struct sd_err *err)
{
    char path[PATH_MAX];
    tree_path(id, "", path);
    if (mkdir(path, 0755) < 0) {
        return sd_err_sys(err, "make cgroup in the v2 tree");
    }
    int error = layout->create(id, limits, err);
    return error < 0 ? error : delegate(path, owner, group, err);
}

int cgroup_enter(const char *id, struct sd_err *err)
{
    char path[PATH_MAX];
    tree_path(id, "cgroup.procs", path);
    int error = io_write_at(AT_FDCWD, path, "0");
    if (error < 0) {
        return sd_err_set(err, -error, "enter the v2 tree");
    }
    return layout->enter(id, err);
}

int cgroup_settle(const char *id, pid_t init, struct sd_err *err)
{
    return layout->settle(id, init, err);
}

int cgroup_open(const char *id, int *ret_fd, struct sd_err *err)
{
    char path[PATH_MAX];
    tree_path(id, "", path);
    /* With a mount of its own there is nothing above it: ".." would lead to the host's root. */
    io_cleanup_fd int mount = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    if (mount < 0) {
        return sd_err_sys(err, "copy the cgroup's mount");
    }
    int fd = openat(mount, ".", O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return sd_err_sys(err, "open cgroup");
    }
    *ret_fd = fd;
    return 0;
}

int cgroup_get_usage(const char *id, struct cgroup_usage *ret_usage)
{
    return layout->usage(id, ret_usage);
}

int cgroup_get_cpu_used(const char *id, uint64_t *ret_usec)
{
    return layout->get_cpu_used(id, ret_usec);
}

int cgroup_get_cpu_quota(const char *id, uint32_t *ret_millis)
{
    return layout->get_cpu_quota(id, ret_millis);
}

int cgroup_yield(const char *id, const char *cpus)
{
    return layout->yield(id, cpus);
}

int cgroup_stop_yielding(const char *id, uint32_t quota_millis)
{
    return layout->stop_yielding(id, quota_millis);
}

int cgroup_kill(const char *id)
{
    char path[PATH_MAX];
    tree_path(id, "cgroup.kill", path);
    return io_write_at(AT_FDCWD, path, "1");
}

int cgroup_set_frozen(const char *id, bool frozen)
{
    char path[PATH_MAX];
    tree_path(id, "cgroup.freeze", path);
    return io_write_at(AT_FDCWD, path, frozen ? "1" : "0");
}

bool cgroup_is_frozen(const char *id)
{
    char path[PATH_MAX];
    unsigned long long frozen = 0;
    tree_path(id, "cgroup.freeze", path);
    return io_read_number_at(AT_FDCWD, path, "", &frozen) == 0 && frozen == 1;
}

bool cgroup_has(const char *id, pid_t pid)
{
    char path[64];
    char text[8192];
    char group[64];
    (void)snprintf(path, sizeof(path), "/proc/%d/cgroup", pid);
    int length = snprintf(group, sizeof(group), "0::/crownest/%s", id);
    if (io_read_at(AT_FDCWD, path, text, sizeof(text)) < 0) {
        return false;
    }
    const char *at = strstr(text, group);
    return at != NULL && (at[length] == '/' || at[length] == '\n');
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int cgroup_wait_empty(const char *id, int timeout_ms)
{
    char path[PATH_MAX];
    tree_path(id, "cgroup.events", path);
    io_cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT ? 0 : -errno;
    }
    int64_t deadline = now_ms() + timeout_ms;
    for (;;) {
        char text[256];
        ssize_t length = pread(fd, text, sizeof(text) - 1, 0);
        if (length < 0) {
            return errno == ENODEV ? 0 : -errno;
        }
        text[length] = '\0';
        if (strstr(text, "populated 0") != NULL) {
            return 0;
        }
        int64_t left = deadline - now_ms();
        if (left <= 0) {
            return -ETIMEDOUT;
        }
        struct pollfd wait = {.fd = fd, .events = POLLPRI};
        if (poll(&wait, 1, (int)left) < 0 && errno != EINTR) {
            return -errno;
        }
    }
}

/* nest-init may have been taken over, so its child groups' names are whatever it chose. */
static int remove_children(const char *path)
{
    DIR *dir = opendir(path);
    if (dir == NULL) {
        return errno == ENOENT ? 0 : -errno;
    }
    int error = 0;
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        if (e->d_type != DT_DIR || strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) {
            continue;
        }
        if (unlinkat(dirfd(dir), e->d_name, AT_REMOVEDIR) < 0 && errno != ENOENT) {
            error = -errno;
        }
    }
    closedir(dir);
    return error;
}

int cgroup_remove(const char *id)
{
    char path[PATH_MAX];
    tree_path(id, "", path);
    int error = remove_children(path);
    int other = layout->remove(id);
    if (rmdir(path) < 0 && errno != ENOENT) {
        return -errno;
    }
    return error < 0 ? error : other;
}
