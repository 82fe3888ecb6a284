#include "tests/jail/attacks.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

long terminal_ioctl(unsigned long number)
{
    char byte = 'x';
    int fd = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
    return fd < 0 ? -1 : syscall(SYS_ioctl, fd, number, &byte);
}

/* On the side of a terminal that programs use. */
long peer_ioctl(unsigned long number)
{
    int argument = 21; /* for TIOCSETD: a modem multiplexer */
    int unlocked = 0;
    int fd = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
    (void)ioctl(fd, TIOCSPTLCK, &unlocked);
    int peer = ioctl(fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    return peer < 0 ? nothing() : syscall(SYS_ioctl, peer, number, &argument);
}

long ioctl_by_path(const char *path, unsigned long number, int argument)
{
    int fd = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
    return fd < 0 ? -1 : syscall(SYS_ioctl, fd, number, &argument);
}

long steal_terminal(void)
{
    return setsid() < 0 ? -1 : ioctl(0, TIOCSCTTY, 1);
}

/* Some files open, and then say nothing. */
static long open_and_read(const char *path, int flags)
{
    char byte;
    int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || (flags & O_ACCMODE) != O_RDONLY) {
        return fd;
    }
    return read(fd, &byte, 1) < 0 && errno != EAGAIN ? -1 : 0;
}

long open_of_helpers(const char *name, int flags)
{
    DIR *proc = opendir("/proc");
    int error = ENOENT;
    for (struct dirent *e = readdir(proc); e != NULL; e = readdir(proc)) {
        char path[300];
        (void)snprintf(path, sizeof(path), "/proc/%s/status", e->d_name);
        if (atoi(e->d_name) <= 1 || find_in(path, "\nUid:\t65533\t") < 0) {
            continue;
        }
        (void)snprintf(path, sizeof(path), "/proc/%s/%s", e->d_name, name);
        if (open_and_read(path, flags) >= 0) {
            return 0;
        }
        error = errno;
    }
    errno = error;
    return -1;
}
