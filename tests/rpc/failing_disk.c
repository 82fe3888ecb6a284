/*
 * Preloaded into crownestd: while there is a file `fail` in its data directory, the log of its
 * database cannot be synced.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int fdatasync(int fd)
{
    char link[32];
    char path[512] = "";

    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof(path) - 1);
    char *database = strstr(path, "/db/records/");

    if (database && strcmp(path + size - 4, ".log") == 0) {
        (void)strcpy(database, "/fail");
        if (access(path, F_OK) == 0) {
            errno = EIO;
            return -1;
        }
    }
    return (int)syscall(SYS_fdatasync, fd);
}
