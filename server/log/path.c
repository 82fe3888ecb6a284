/* Which files a log has, and what can be done with them unopened. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/log/private.h"
#include "server/util/cleanup.h"

#define NAME_MIN 2
#define NAME_LENGTH_MAX 64

static bool name_valid(const char *name)
{
    size_t size = strlen(name);

    return size >= NAME_MIN && size <= NAME_LENGTH_MAX &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == size;
}

static bool join(char ret_path[PATH_MAX], const char *directory, const char *name,
                 const char *suffix)
{
    int size = snprintf(ret_path, PATH_MAX, "%s/%s%s", directory, name, suffix);

    return size > 0 && size < PATH_MAX;
}

/* Ids end in random characters and begin alike: the end spreads them over directories. */
int log_path_make(const char *directory, const char *name, struct log_path *ret_path)
{
    if (!name_valid(name))
        return -EINVAL;
    bool fits = join(ret_path->directory, directory, name + strlen(name) - NAME_MIN, "") &&
                join(ret_path->file, ret_path->directory, name, ".log") &&
                join(ret_path->archive, ret_path->directory, name, ".log.zst") &&
                join(ret_path->unfinished, ret_path->directory, name, ".log.zst.new");

    return fits ? 0 : -ENAMETOOLONG;
}

int log_sync_directory(const char *path)
{
    cleanup_fd int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

int log_path_make_directories(const char *directory, const struct log_path *path)
{
    if (mkdir(directory, 0700) < 0 && errno != EEXIST)
        return -errno;
    if (mkdir(path->directory, 0700) == 0)
        return log_sync_directory(directory);
    return errno == EEXIST ? 0 : -errno;
}

int log_remove(const char *directory, const char *name)
{
    struct log_path path;
    int result = log_path_make(directory, name, &path);

    if (result < 0)
        return result;
    (void)unlink(path.unfinished);
    result = unlink(path.file) < 0 ? -errno : 0;
    if (unlink(path.archive) == 0)
        return result == -ENOENT ? 0 : result;
    return errno == ENOENT ? result : -errno;
}
