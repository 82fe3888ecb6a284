#include "tests/jail/attacks.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#define PAGE 4096
/* Of the template, whose pages are shared with everybody. */
#define SHARED_FILE "/bin/sh"

long write_again(const char *path)
{
    int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    return fd < 0 ? -1 : write(fd, "x", 1);
}

long read_again(const char *path)
{
    char byte;
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    return fd < 0 || (read(fd, &byte, 1) < 0 && errno != EAGAIN) ? -1 : 0;
}

/* On the error output, since what is written on the other one is the probe's report. */
long signal_init_by_output(void)
{
    int flags = fcntl(STDERR_FILENO, F_GETFL);
    if (fcntl(STDERR_FILENO, F_SETOWN, 1) < 0 || fcntl(STDERR_FILENO, F_SETSIG, SIGKILL) < 0 ||
        fcntl(STDERR_FILENO, F_SETFL, flags | O_ASYNC) < 0) {
        return -1;
    }
    ssize_t written = write(STDERR_FILENO, "x", 1);
    return fcntl(STDERR_FILENO, F_SETFL, flags) < 0 ? -1 : written;
}

long packet_output(void)
{
    int flags = fcntl(STDERR_FILENO, F_GETFL);
    if (fcntl(STDERR_FILENO, F_SETFL, flags | O_DIRECT) < 0) {
        return -1;
    }
    ssize_t written = write(STDERR_FILENO, "one", 3) + write(STDERR_FILENO, "two", 3);
    return fcntl(STDERR_FILENO, F_SETFL, flags) < 0 ? -1 : written;
}

long gift_page(void)
{
    char *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct iovec iov = {page, PAGE};
    if (page == MAP_FAILED) {
        return -1;
    }
    memset(page, 'a', PAGE);
    ssize_t moved = vmsplice(STDERR_FILENO, &iov, 1, SPLICE_F_GIFT | SPLICE_F_NONBLOCK);
    memset(page, 'b', PAGE);
    return moved;
}

/* The first bytes of the file are an ELF header's. */
static long unless_changed(int fd, long result)
{
    char now[4];
    int error = errno;
    if (pread(fd, now, sizeof(now), 0) != sizeof(now) || memcmp(now, "\177ELF", 4) != 0) {
        errno = EUCLEAN;
        return -1;
    }
    errno = error;
    return result;
}

long write_own_memory(int flags)
{
    int fd = open(SHARED_FILE, O_RDONLY | O_CLOEXEC);
    int memory = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
    void *map = mmap(NULL, PAGE, PROT_READ, flags, fd, 0);
    if (fd < 0 || memory < 0 || map == MAP_FAILED) {
        return -1;
    }
    return unless_changed(fd, pwrite(memory, "XXXX", 4, (off_t)(uintptr_t)map));
}

/* A page of the file is in the pipe; what is written next must not be merged into it. */
long write_spliced_page(void)
{
    int ends[2];
    loff_t begin = 0;
    int fd = open(SHARED_FILE, O_RDONLY | O_CLOEXEC);
    char full[PAGE] = {0};
    if (fd < 0 || pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0) {
        return -1;
    }
    /* Every slot has been written to once, and says so. */
    while (write(ends[1], full, sizeof(full)) > 0) {
    }
    while (read(ends[0], full, sizeof(full)) > 0) {
    }
    if (splice(fd, &begin, ends[1], NULL, 1, 0) < 0) {
        return -1;
    }
    begin = 0;
    return unless_changed(fd, write(ends[1], "XXX", 3));
}
