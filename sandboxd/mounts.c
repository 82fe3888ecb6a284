#include "sandboxd/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandboxd/init/start.h"
#include "sandboxd/io.h"

#define NUMBER_SIZE 24

/* Directories of the writable layer; "data" and "work" are overlayfs's, "shm" is /dev/shm. */
struct layer_dir {
    const char *path;
    mode_t mode;
    uid_t inside_owner;
};

static const struct layer_dir LAYER_DIRS[] = {
    {"data", 0755, 0},      {"work", 0700, 0},     {"shm", 01777, 0},
    {"data/proc", 0555, 0}, {"data/dev", 0755, 0}, {"data/sys", 0555, 0},
    {"data/tmp", 01777, 0}, {"data/run", 0755, 0}, {"data/workspace", 0755, NEST_USER_ID},
};

int mounts_make_stage(const char *path, struct sd_err *err)
{
    static const char *const DIRS[] = {STAGE_LOWER, STAGE_UPPER, STAGE_ROOT};
    if (mkdir(path, 0700) < 0 && errno != EEXIST) {
        return sd_err_sys(err, path);
    }
    io_cleanup_fd int dir = open(path, O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (dir < 0) {
        return sd_err_sys(err, path);
    }
    for (size_t i = 0; i < sizeof(DIRS) / sizeof(DIRS[0]); i++) {
        if (mkdirat(dir, DIRS[i], 0700) < 0 && errno != EEXIST) {
            return sd_err_sys(err, DIRS[i]);
        }
    }
    return 0;
}

int mounts_unshare(struct sd_err *err)
{
    if (unshare(CLONE_NEWNS) < 0) {
        return sd_err_sys(err, "unshare mount namespace");
    }
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
        return sd_err_sys(err, "make mounts private");
    }
    return 0;
}

int mounts_new(const char *type, const char *const options[], unsigned int attributes,
               int *ret_mount, struct sd_err *err)
{
    io_cleanup_fd int fs = fsopen(type, FSOPEN_CLOEXEC);
    if (fs < 0) {
        return sd_err_sys(err, type);
    }
    for (size_t i = 0; options[i] != NULL; i += 2) {
        int flag = options[i + 1][0] == '\0';
        if (fsconfig(fs, flag ? FSCONFIG_SET_FLAG : FSCONFIG_SET_STRING, options[i],
                     flag ? NULL : options[i + 1], 0) < 0) {
            return sd_err_sys(err, options[i]);
        }
    }
    if (fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0) {
        return sd_err_sys(err, type);
    }
    int mount = fsmount(fs, FSMOUNT_CLOEXEC, attributes);
    if (mount < 0) {
        return sd_err_sys(err, type);
    }
    *ret_mount = mount;
    return 0;
}

int mounts_attach(int mount, int dirfd, const char *target, struct sd_err *err)
{
    struct open_how how = {.flags = O_PATH | O_CLOEXEC,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
    io_cleanup_fd int to = (int)syscall(SYS_openat2, dirfd, target, &how, sizeof(how));
    if (to < 0 ||
        move_mount(mount, "", to, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0) {
        return sd_err_sys(err, target);
    }
    return 0;
}

static int new_tmpfs(uint64_t bytes, uint64_t inodes, const char *mode, uid_t owner, int *ret_mount,
                     struct sd_err *err)
{
    char size[NUMBER_SIZE];
    char count[NUMBER_SIZE];
    char id[NUMBER_SIZE];
    (void)snprintf(size, sizeof(size), "%llu", (unsigned long long)bytes);
    (void)snprintf(count, sizeof(count), "%llu", (unsigned long long)inodes);
    (void)snprintf(id, sizeof(id), "%u", owner);
    const char *const options[] = {"size", size, "nr_inodes", count, "mode", mode,
                                   "uid",  id,   "gid",       id,    NULL};
    return mounts_new("tmpfs", options, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, ret_mount, err);
}

static int make_layer_dirs(int mount, uid_t base, struct sd_err *err)
{
    for (size_t i = 0; i < sizeof(LAYER_DIRS) / sizeof(LAYER_DIRS[0]); i++) {
        const struct layer_dir *d = &LAYER_DIRS[i];
        uid_t owner = base + d->inside_owner;
        if (mkdirat(mount, d->path, 0700) < 0 || fchownat(mount, d->path, owner, owner, 0) < 0 ||
            fchmodat(mount, d->path, d->mode, 0) < 0) {
            return sd_err_sys(err, d->path);
        }
    }
    return 0;
}

int mounts_writable_layer(const struct mounts_layer *layer, struct sd_err *err)
{
    bool on_volume = layer->volume >= 0;
    io_cleanup_fd int tmpfs = -1;
    int error = on_volume
                    ? new_tmpfs(layer->shm_bytes, layer->inodes, "1777", layer->base, &tmpfs, err)
                    : new_tmpfs(layer->disk_bytes, layer->inodes, "0700", 0, &tmpfs, err);
    int mount = on_volume ? layer->volume : tmpfs;
    if (error == 0) {
        error = make_layer_dirs(mount, layer->base, err);
    }
    if (error == 0) {
        error = mounts_attach(mount, AT_FDCWD, STAGE_UPPER, err);
    }
    if (error == 0 && on_volume) {
        error = mounts_attach(tmpfs, AT_FDCWD, STAGE_UPPER "/shm", err);
    }
    return error;
}

int mounts_template(const char *image_root, int userns, struct sd_err *err)
{
    io_cleanup_fd int mount = open_tree(AT_FDCWD, image_root, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    if (mount < 0) {
        return sd_err_sys(err, image_root);
    }
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_IDMAP | MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID |
                                          MOUNT_ATTR_NODEV,
                              .userns_fd = (unsigned int)userns};
    if (mount_setattr(mount, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0) {
        return sd_err_sys(err, "idmapped template");
    }
    return mounts_attach(mount, AT_FDCWD, STAGE_LOWER, err);
}

int mounts_overlay(struct sd_err *err)
{
    /* "volatile": nothing of a sandbox's disk outlives it, so nothing needs to be synced. */
    static const char *const OPTIONS[] = {
        "lowerdir",     STAGE_LOWER,
        "upperdir",     STAGE_UPPER "/data",
        "workdir",      STAGE_UPPER "/work",
        "redirect_dir", "nofollow",
        "metacopy",     "off",
        "index",        "off",
        "xino",         "off",
        "volatile",     "",
        NULL,
    };
    io_cleanup_fd int mount = -1;
    int error = mounts_new("overlay", OPTIONS, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, &mount, err);
    if (error == 0) {
        error = mounts_attach(mount, AT_FDCWD, STAGE_ROOT, err);
    }
    if (error == 0 && umount2(STAGE_LOWER, MNT_DETACH | UMOUNT_NOFOLLOW) < 0) {
        error = sd_err_sys(err, "detach lower");
    }
    return error;
}

int mounts_shm(struct sd_err *err)
{
    io_cleanup_fd int shm =
        open_tree(AT_FDCWD, STAGE_UPPER "/shm", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    if (shm < 0) {
        return sd_err_sys(err, "shm");
    }
    int error = mounts_attach(shm, AT_FDCWD, STAGE_ROOT "/dev/shm", err);
    if (error == 0 && umount2(STAGE_UPPER, MNT_DETACH | UMOUNT_NOFOLLOW) < 0) {
        error = sd_err_sys(err, "detach upper");
    }
    return error;
}

int mounts_enter(struct sd_err *err)
{
    if (unshare(CLONE_NEWNS) < 0) {
        return sd_err_sys(err, "unshare mount namespace");
    }
    /* A copied mount is locked and cannot become the root; a copy of the copy can. */
    io_cleanup_fd int root =
        open_tree(AT_FDCWD, STAGE_ROOT, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
    if (root < 0) {
        return sd_err_sys(err, "copy root");
    }
    int error = mounts_attach(root, AT_FDCWD, STAGE_ROOT, err);
    if (error == 0 && fchdir(root) < 0) {
        error = sd_err_sys(err, "enter root");
    }
    return error;
}

int mounts_pivot(struct sd_err *err)
{
    if (syscall(SYS_pivot_root, ".", ".") < 0) {
        return sd_err_sys(err, "pivot_root");
    }
    if (umount2(".", MNT_DETACH) < 0) {
        return sd_err_sys(err, "detach old root");
    }
    return chdir("/") < 0 ? sd_err_sys(err, "chdir") : 0;
}
