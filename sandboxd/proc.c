#include "sandboxd/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "sandboxd/io.h"
#include "sandboxd/mounts.h"

static const char *const COVERED_FILES[] = {
    "kcore",         "keys",       "key-users",   "kmsg",          "kallsyms",
    "latency_stats", "timer_list", "sched_debug", "sysrq-trigger", "timer_stats",
};
static const char *const COVERED_DIRS[] = {"acpi", "scsi", "driver", "dynamic_debug"};
static const char *const READ_ONLY[] = {"sys", "irq", "bus", "fs"};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/*
 * Opens an entry of this very procfs: no symlink, no other mount, and the file system says that it
 * is procfs. -ENOENT = this kernel has no such file.
 */
static int open_entry(int proc, const char *name)
{
    struct open_how how = {.flags = O_PATH | O_CLOEXEC,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV};
    int fd = (int)syscall(SYS_openat2, proc, name, &how, sizeof(how));
    if (fd < 0) {
        return -errno;
    }
    struct statfs fs;
    if (fstatfs(fd, &fs) < 0 || fs.f_type != PROC_SUPER_MAGIC) {
        close(fd);
        return -EXDEV;
    }
    return fd;
}

static int cover_with(int proc, const char *name, int source, struct sd_err *err)
{
    io_cleanup_fd int entry = open_entry(proc, name);
    if (entry == -ENOENT) {
        return 0;
    }
    if (entry < 0) {
        return sd_err_set(err, -entry, name);
    }
    io_cleanup_fd int copy =
        open_tree(source, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
    if (copy < 0 ||
        move_mount(copy, "", entry, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0) {
        return sd_err_sys(err, name);
    }
    return 0;
}

static int cover_files(int proc, struct sd_err *err)
{
    io_cleanup_fd int null = open("dev/null", O_PATH | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;
    if (null < 0 || fstat(null, &st) < 0) {
        return sd_err_sys(err, "dev/null");
    }
    if (!S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3)) {
        return sd_err_set(err, EXDEV, "dev/null is something else");
    }
    int error = 0;
    for (size_t i = 0; error == 0 && i < COUNT(COVERED_FILES); i++) {
        error = cover_with(proc, COVERED_FILES[i], null, err);
    }
    return error;
}

/* dev/pts/.. would be writable; the empty directory to cover others with is /sys, which stays
 * empty. */
static int cover_dirs(int proc, struct sd_err *err)
{
    int error = 0;
    for (size_t i = 0; error == 0 && i < COUNT(COVERED_DIRS); i++) {
        io_cleanup_fd int entry = open_entry(proc, COVERED_DIRS[i]);
        if (entry == -ENOENT) {
            continue;
        }
        static const char *const OPTIONS[] = {"size", "4k", "nr_inodes", "2", "mode", "0555", NULL};
        io_cleanup_fd int empty = -1;
        error =
            mounts_new("tmpfs", OPTIONS,
                       MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC,
                       &empty, err);
        if (error == 0 &&
            (entry < 0 || move_mount(empty, "", entry, "",
                                     MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)) {
            error = sd_err_sys(err, COVERED_DIRS[i]);
        }
    }
    return error;
}

static int make_read_only(int proc, struct sd_err *err)
{
    for (size_t i = 0; i < COUNT(READ_ONLY); i++) {
        io_cleanup_fd int entry = open_entry(proc, READ_ONLY[i]);
        if (entry == -ENOENT) {
            continue;
        }
        io_cleanup_fd int copy =
            open_tree(entry, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
        struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};
        if (entry < 0 || copy < 0 ||
            mount_setattr(copy, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0 ||
            move_mount(copy, "", entry, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) <
                0) {
            return sd_err_sys(err, READ_ONLY[i]);
        }
    }
    return 0;
}

/*
 * Of the namespace of whoever asks. The filter of commands refuses new namespaces anyhow; this
 * binds nest-init too, which has a wider one, and all that may ever get past a filter.
 */
static int forbid_namespaces(int proc, struct sd_err *err)
{
    int error = io_write_at(proc, "sys/user/max_user_namespaces", "0");
    return error < 0 ? sd_err_set(err, -error, "max_user_namespaces") : 0;
}

int proc_mount(struct sd_err *err)
{
    /* Group root sees all processes, so that ps is of use to root inside. */
    static const char *const OPTIONS[] = {"hidepid", "invisible", "gid", "0", NULL};
    io_cleanup_fd int mount = -1;
    int error = mounts_new("proc", OPTIONS,
                           MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, &mount, err);
    if (error == 0) {
        error = mounts_attach(mount, AT_FDCWD, "proc", err);
    }
    if (error == 0) {
        error = forbid_namespaces(mount, err);
    }
    if (error == 0) {
        error = cover_files(mount, err);
    }
    if (error == 0) {
        error = cover_dirs(mount, err);
    }
    return error < 0 ? error : make_read_only(mount, err);
}
