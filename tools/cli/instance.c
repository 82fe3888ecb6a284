#include "tools/cli/instance.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "server/util/cleanup.h"

#define PATH_SIZE 4096

static int open_lock(const char *run_dir, int flags)
{
    char path[PATH_SIZE];

    if (snprintf(path, sizeof(path), "%s/up.lock", run_dir) >= (int)sizeof(path))
        return -ENAMETOOLONG;
    int fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW, 0644);
    return fd < 0 ? -errno : fd;
}

int instance_lock(const char *run_dir, struct err *ret_err)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int fd = open_lock(run_dir, O_RDWR | O_CREAT);

    if (fd < 0)
        return err_set(ret_err, -fd, "%s/up.lock: %s", run_dir, strerror(-fd));
    /* The descriptor stays open on purpose: closing it would free the lock. */
    if (!fcntl(fd, F_SETLK, &lock))
        return 0;
    (void)close(fd);
    return err_set(ret_err, EBUSY, "another `crownest up` uses %s", run_dir);
}

int instance_find(const char *run_dir, pid_t *ret_pid)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    cleanup_fd int fd = open_lock(run_dir, O_RDWR);

    if (fd < 0 && fd != -ENOENT)
        return fd;
    if (fd >= 0 && fcntl(fd, F_GETLK, &lock))
        return -errno;
    *ret_pid = fd < 0 || lock.l_type == F_UNLCK ? 0 : lock.l_pid;
    return 0;
}

int instance_open(const char *run_dir, pid_t *ret_pid, int *ret_pidfd)
{
    pid_t pid;
    pid_t still;
    int result = instance_find(run_dir, &pid);

    if (result || !pid)
        return result ? result : -ENOENT;
    cleanup_fd int pidfd = pidfd_open(pid, 0);
    /* Asked again, the lock proves that the pid had not passed to another process meanwhile. */
    if (pidfd < 0 || instance_find(run_dir, &still) || still != pid)
        return -ESRCH;
    *ret_pid = pid;
    *ret_pidfd = take_fd(&pidfd);
    return 0;
}
