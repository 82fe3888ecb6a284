#include "tests/unit/small_disk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "tests/unit/tempdir.h"

#define PATH_SIZE 512
#define CHUNK (64U << 10)

static const char *missing;

const char *small_disk_enter(void)
{
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return "CAP_SYS_ADMIN, to mount a small disk";
    return NULL;
}

int small_disk_mount(const char *path, const char *options)
{
    return mount("small", path, "tmpfs", MS_NOSUID | MS_NODEV, options) < 0 ? -errno : 0;
}

size_t small_disk_free_bytes(const char *path)
{
    struct statvfs disk;

    if (statvfs(path, &disk) < 0)
        abort();
    return (size_t)disk.f_bavail * disk.f_frsize;
}

void small_disk_fill(const char *path, const char *name, size_t leave)
{
    static char zeros[CHUNK];
    char file[PATH_SIZE];

    (void)snprintf(file, sizeof(file), "%s/%s", path, name);
    int fd = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    size_t left;

    while (fd >= 0 && (left = small_disk_free_bytes(path)) > leave) {
        size_t size = left - leave < CHUNK ? left - leave : CHUNK;

        if (write(fd, zeros, size) < 0)
            break;
    }
    if (fd >= 0)
        (void)close(fd);
}

void small_disk_remove(const char *path, const char *name)
{
    char file[PATH_SIZE];

    (void)snprintf(file, sizeof(file), "%s/%s", path, name);
    if (unlink(file) < 0 && errno != ENOENT)
        abort();
}

int small_disk_group(void **state)
{
    (void)state;
    missing = small_disk_enter();
    return 0;
}

int small_disk_setup(void **state)
{
    if (missing)
        return 0;
    *state = tempdir_new();
    return small_disk_mount(*state, "size=64m,nr_inodes=2000");
}

int small_disk_teardown(void **state)
{
    if (missing)
        return 0;
    (void)umount2(*state, MNT_DETACH);
    tempdir_free(*state);
    return 0;
}

char *small_disk_of(void **state)
{
    if (missing) {
        print_message("skipped, for want of %s\n", missing);
        skip();
    }
    return *state;
}
