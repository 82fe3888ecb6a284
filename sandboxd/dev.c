#include "sandboxd/dev.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "sandboxd/io.h"
#include "sandboxd/mounts.h"
#include "sandboxd/policy.h"

static const struct {
    const char *name;
    unsigned int major;
    unsigned int minor;
} NODES[] = {
    {"null", 1, 3},   {"zero", 1, 5},    {"full", 1, 7},
    {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0},
};

static const struct {
    const char *name;
    const char *target;
} LINKS[] = {
    {"ptmx", "pts/ptmx"},          {"fd", "/proc/self/fd"},       {"stdin", "/proc/self/fd/0"},
    {"stdout", "/proc/self/fd/1"}, {"stderr", "/proc/self/fd/2"},
};

static const char *const DIRS[] = {"pts", "shm"};

static int fill(int dir, struct sd_err *err)
{
    for (size_t i = 0; i < sizeof(NODES) / sizeof(NODES[0]); i++) {
        dev_t number = makedev(NODES[i].major, NODES[i].minor);
        /* mknod obeys the umask, chmod does not. */
        if (mknodat(dir, NODES[i].name, S_IFCHR | 0600, number) < 0 ||
            fchmodat(dir, NODES[i].name, 0666, 0) < 0) {
            return sd_err_sys(err, NODES[i].name);
        }
    }
    for (size_t i = 0; i < sizeof(LINKS) / sizeof(LINKS[0]); i++) {
        if (symlinkat(LINKS[i].target, dir, LINKS[i].name) < 0) {
            return sd_err_sys(err, LINKS[i].name);
        }
    }
    for (size_t i = 0; i < sizeof(DIRS) / sizeof(DIRS[0]); i++) {
        if (mkdirat(dir, DIRS[i], 0755) < 0) {
            return sd_err_sys(err, DIRS[i]);
        }
    }
    return 0;
}

static int mount_pts(uid_t base, uint32_t max_ptys, struct sd_err *err)
{
    char group[24];
    char max[24];
    (void)snprintf(group, sizeof(group), "%u", base + POLICY_INSIDE_TTY_GROUP);
    (void)snprintf(max, sizeof(max), "%u", max_ptys);
    const char *const options[] = {"gid",  group, "mode", "0620", "ptmxmode",
                                   "0666", "max", max,    NULL};
    io_cleanup_fd int mount = -1;
    int error = mounts_new("devpts", options, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, &mount, err);
    return error < 0 ? error : mounts_attach(mount, AT_FDCWD, STAGE_ROOT "/dev/pts", err);
}

int dev_mount(uid_t base, uint32_t max_ptys, struct sd_err *err)
{
    static const char *const OPTIONS[] = {"size", "64k", "nr_inodes", "32", "mode", "0755", NULL};
    io_cleanup_fd int mount = -1;
    int error = mounts_new("tmpfs", OPTIONS, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, &mount, err);
    if (error == 0) {
        error = fill(mount, err);
    }
    if (error < 0) {
        return error;
    }
    struct mount_attr read_only = {.attr_set = MOUNT_ATTR_RDONLY};
    if (mount_setattr(mount, "", AT_EMPTY_PATH, &read_only, sizeof(read_only)) < 0) {
        return sd_err_sys(err, "make /dev read-only");
    }
    error = mounts_attach(mount, AT_FDCWD, STAGE_ROOT "/dev", err);
    return error < 0 ? error : mount_pts(base, max_ptys, err);
}
