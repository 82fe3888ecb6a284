#include "sandboxd/volume.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/magic.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "sandboxd/io.h"
#include "sandboxd/policy.h"

#define OWN_DIR "crownest"
/* Builders of an earlier sandboxd hold the lock until they have died of its death. */
#define LOCK_ATTEMPTS 500
#define LOCK_PAUSE_MS 10

static int directory = -1; /* DIR/crownest */

static int check_type(int fd, const char *dir, struct sd_err *err)
{
    struct statfs fs;
    char said[SD_ERR_DETAIL_SIZE];
    if (fstatfs(fd, &fs) < 0) {
        return sd_err_sys(err, dir);
    }
    (void)snprintf(said, sizeof(said), "%.120s is not on btrfs", dir);
    return fs.f_type == BTRFS_SUPER_MAGIC ? 0 : sd_err_set(err, ENOTSUP, said);
}

static int open_dir(const char *dir, int *ret_fd, struct sd_err *err)
{
    io_cleanup_fd int fd = open(dir, O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return sd_err_sys(err, dir);
    }
    int error = check_type(fd, dir, err);
    *ret_fd = error < 0 ? -1 : io_take(&fd);
    return error;
}

int volume_check(const char *dir, struct sd_err *err)
{
    io_cleanup_fd int fd = -1;
    return open_dir(dir, &fd, err);
}

/* Two would take each other's sandboxes for leftovers. */
static int lock(int fd, struct sd_err *err)
{
    for (int i = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; i++) {
        if (errno != EWOULDBLOCK || i == LOCK_ATTEMPTS) {
            return sd_err_sys(err, "the volume is in use by another sandboxd");
        }
        (void)poll(NULL, 0, LOCK_PAUSE_MS);
    }
    return 0;
}

static int open_own(int volume, int *ret_fd, struct sd_err *err)
{
    struct stat st;
    if (mkdirat(volume, OWN_DIR, 0700) < 0 && errno != EEXIST) {
        return sd_err_sys(err, OWN_DIR " on the volume");
    }
    io_cleanup_fd int fd = openat(volume, OWN_DIR, O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || fstat(fd, &st) < 0) {
        return sd_err_sys(err, OWN_DIR " on the volume");
    }
    if (st.st_uid != 0 || (st.st_mode & 077) != 0) {
        return sd_err_set(err, EPERM, OWN_DIR " on the volume must be root's, mode 0700");
    }
    int error = lock(fd, err);
    *ret_fd = error < 0 ? -1 : io_take(&fd);
    return error;
}

/* Where the kernel has lost count, as after some uses of snapshots, it lets go of limits too. */
static bool has_lost_count(int fd)
{
    struct btrfs_ioctl_fs_info_args info = {0};
    unsigned long long lost = 0;
    char path[128];
    if (ioctl(fd, BTRFS_IOC_FS_INFO, &info) < 0) {
        return false;
    }
    const uint8_t *u = info.fsid;
    (void)snprintf(path, sizeof(path),
                   "/sys/fs/btrfs/%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-"
                   "%02x%02x%02x%02x%02x%02x/qgroups/inconsistent",
                   u[0], u[1], u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12],
                   u[13], u[14], u[15]);
    return io_read_number_at(AT_FDCWD, path, "", &lost) == 0 && lost != 0;
}

static int enable_limits(int fd, struct sd_err *err)
{
    struct btrfs_ioctl_quota_ctl_args enable = {.cmd = BTRFS_QUOTA_CTL_ENABLE};
    struct btrfs_ioctl_quota_rescan_args rescan = {0};
    if (ioctl(fd, BTRFS_IOC_QUOTA_CTL, &enable) < 0) {
        return sd_err_sys(err, "enable quotas on the volume");
    }
    if (has_lost_count(fd) && ioctl(fd, BTRFS_IOC_QUOTA_RESCAN, &rescan) < 0 &&
        errno != EINPROGRESS) {
        return sd_err_sys(err, "count what is on the volume");
    }
    return ioctl(fd, BTRFS_IOC_QUOTA_RESCAN_WAIT) < 0
               ? sd_err_sys(err, "wait for the volume to be counted")
               : 0;
}

int volume_init(const char *dir, struct sd_err *err)
{
    io_cleanup_fd int volume = -1;
    int error = open_dir(dir, &volume, err);
    if (error == 0) {
        error = open_own(volume, &directory, err);
    }
    return error < 0 ? error : enable_limits(directory, err);
}

static struct btrfs_ioctl_vol_args name_of(const char *id)
{
    struct btrfs_ioctl_vol_args args = {0};
    (void)snprintf(args.name, sizeof(args.name), "%s", id);
    return args;
}

int volume_create(const char *id, uint64_t bytes, int *ret_mount, struct sd_err *err)
{
    if (directory < 0) {
        *ret_mount = -1;
        return 0;
    }
    struct btrfs_ioctl_vol_args args = name_of(id);
    if (ioctl(directory, BTRFS_IOC_SUBVOL_CREATE, &args) < 0) {
        return sd_err_sys(err, "make the subvolume");
    }
    io_cleanup_fd int fd = openat(directory, id, O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        return sd_err_sys(err, "open the subvolume");
    }
    /* qgroupid 0 = that of the subvolume. */
    struct btrfs_ioctl_qgroup_limit_args limit = {
        .lim = {.flags = BTRFS_QGROUP_LIMIT_MAX_RFER, .max_rfer = bytes}};
    if (ioctl(fd, BTRFS_IOC_QGROUP_LIMIT, &limit) < 0) {
        return sd_err_sys(err, "limit the subvolume");
    }
    io_cleanup_fd int mount =
        open_tree(fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV};
    if (mount < 0 || mount_setattr(mount, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0) {
        return sd_err_sys(err, "mount the subvolume");
    }
    *ret_mount = io_take(&mount);
    return 0;
}

/*
 * Before Linux 6.10 a qgroup outlives its subvolume, and this removes it; later kernels refuse
 * (EBUSY) and remove it with the last of the subvolume. First, since after a death in between there
 * is still the name to find the rest by. A 6.1 of Debian's does the one and not the other, see
 * volume.h.
 */
static void remove_qgroup(int subvolume)
{
    struct btrfs_ioctl_get_subvol_info_args info = {0};
    /* Linux 6.1 returns 1 when the subvolume is the last one that the volume knows. */
    if (ioctl(subvolume, BTRFS_IOC_GET_SUBVOL_INFO, &info) >= 0) {
        struct btrfs_ioctl_qgroup_create_args args = {.create = 0, .qgroupid = info.treeid};
        (void)ioctl(directory, BTRFS_IOC_QGROUP_CREATE, &args);
    }
}

int volume_remove(const char *id)
{
    if (directory < 0) {
        return 0;
    }
    io_cleanup_fd int fd = openat(directory, id, O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        return errno == ENOENT ? 0 : -errno;
    }
    remove_qgroup(fd);
    struct btrfs_ioctl_vol_args args = name_of(id);
    if (ioctl(directory, BTRFS_IOC_SNAP_DESTROY, &args) < 0) {
        return -errno;
    }
    /* Its space is free when a commit has passed: asked for now, not waited for. */
    uint64_t transaction;
    (void)ioctl(directory, BTRFS_IOC_START_SYNC, &transaction);
    return 0;
}

static bool read_id(const char *name, char ret_id[SD_ID_SIZE])
{
    size_t length = strlen(name);
    if (length >= SD_ID_SIZE) {
        return false;
    }
    memset(ret_id, 0, SD_ID_SIZE);
    memcpy(ret_id, name, length);
    return policy_id_is_valid(ret_id);
}

int volume_sweep(bool (*keep)(const char id[SD_ID_SIZE]), struct sd_err *err)
{
    char id[SD_ID_SIZE];
    int error = 0;
    if (directory < 0) {
        return 0;
    }
    int copy = openat(directory, ".", O_DIRECTORY | O_CLOEXEC);
    DIR *dir = copy < 0 ? NULL : fdopendir(copy);
    if (dir == NULL) {
        (void)sd_err_sys(err, "look for leftovers on the volume");
        io_close(&copy);
        return err->code;
    }
    for (struct dirent *e = readdir(dir); e != NULL && error == 0; e = readdir(dir)) {
        if (read_id(e->d_name, id) && !keep(id)) {
            error = volume_remove(id);
        }
    }
    closedir(dir);
    return error < 0 ? sd_err_set(err, -error, "remove a leftover on the volume") : 0;
}
