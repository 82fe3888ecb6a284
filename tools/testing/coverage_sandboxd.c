/*
 * Linked into the sandboxd that tools/testing/coverage.sh measures, whose jail.c calls
 * coverage_syscall in place of syscall: hands the file named by CROWNEST_COVERAGE_INIT on to each
 * nest-init.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tools/testing/coverage.h"

long coverage_syscall(long number, long a, long b, long c, long d, long e, long f);

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("CROWNEST_COVERAGE_INIT");
    int fd = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);
    if (fd >= 0) {
        (void)dup3(fd, COVERAGE_FD, O_CLOEXEC);
        (void)close(fd);
    }
}

long coverage_syscall(long number, long a, long b, long c, long d, long e, long f)
{
    long result = syscall(number, a, b, c, d, e, f);
    if (number == SYS_close_range && result == 0) {
        (void)fcntl(COVERAGE_FD, F_SETFD, 0);
    }
    return result;
}
