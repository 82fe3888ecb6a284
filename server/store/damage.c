#include "server/store/damage.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/util/cleanup.h"

#define COPIES_MAX 100
#define COPY_BYTES (1U << 20)

static int make_directory(const char *path, char ret_copy[PATH_MAX])
{
    for (int number = 1; number <= COPIES_MAX; number++) {
        if (snprintf(ret_copy, PATH_MAX, "%s.damaged-%d", path, number) >= PATH_MAX)
            return -ENAMETOOLONG;
        if (mkdir(ret_copy, 0700) == 0)
            return 0;
        if (errno != EEXIST)
            return -errno;
    }
    return -EEXIST;
}

static int copy_bytes(int from, int to)
{
    for (;;) {
        ssize_t done = copy_file_range(from, NULL, to, NULL, COPY_BYTES, 0);

        if (done == 0)
            return fsync(to) < 0 ? -errno : 0;
        if (done < 0 && errno != EINTR)
            return -errno;
    }
}

static bool is_table(const char *name)
{
    size_t size = strlen(name);

    return size > 4 && strcmp(name + size - 4, ".sst") == 0;
}

static int copy_one(int from, int to, const char *name)
{
    if (is_table(name))
        return linkat(from, name, to, name, 0) < 0 ? -errno : 0;
    cleanup_fd int source = openat(from, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

    if (source < 0)
        return -errno;
    cleanup_fd int copy =
        openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

    return copy < 0 ? -errno : copy_bytes(source, copy);
}

static int copy_all(DIR *from, int to)
{
    int result = 0;

    for (struct dirent *entry; result == 0 && (entry = readdir(from));) {
        if (entry->d_name[0] != '.')
            result = copy_one(dirfd(from), to, entry->d_name);
    }
    if (result == 0 && fsync(to) < 0)
        result = -errno;
    return result;
}

int damage_keep(const char *path, char ret_copy[PATH_MAX], struct err *err)
{
    int result = make_directory(path, ret_copy);

    if (result < 0)
        return err_set(err, -result, "a copy of %.100s cannot be made: %s", path,
                       strerror(-result));
    cleanup_fd int to = open(ret_copy, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *from = opendir(path);

    result = to < 0 || !from ? -errno : copy_all(from, to);
    if (from)
        (void)closedir(from);
    if (result < 0)
        return err_set(err, -result, "%.100s cannot be copied: %s", path, strerror(-result));
    return 0;
}
