#include "server/store/mark.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <unistd.h>

/* The number, and its complement to know it by. */
struct mark {
    uint64_t sequence;
    uint64_t complement;
};

int mark_open(const char *path, uint64_t *ret_sequence)
{
    struct mark mark = {0};
    int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (fd < 0)
        return -errno;
    ssize_t size = pread(fd, &mark, sizeof(mark), 0);

    /* A file whose bytes never reached the disk is like none. */
    *ret_sequence =
        size == (ssize_t)sizeof(mark) && mark.sequence == ~mark.complement ? mark.sequence : 0;
    return fd;
}

int mark_write(int fd, uint64_t sequence)
{
    struct mark mark = {.sequence = sequence, .complement = ~sequence};

    if (pwrite(fd, &mark, sizeof(mark), 0) != (ssize_t)sizeof(mark))
        return -EIO;
    return 0;
}
