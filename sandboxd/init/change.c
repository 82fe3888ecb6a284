#include "sandboxd/init/change.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandboxd/init/files.h"
#include "sandboxd/init/nest.h"

#define WORKSPACE "/workspace"
#define DIRECTORY_MODE 0755
#define RENAME_KEEP 1U /* RENAME_NOREPLACE, which musl's headers lack */
#define SPARE_NAME_SIZE 48

/* Relative paths start at the workspace. */
static int enter(const struct nest_file *file)
{
    if (!files_path_is_good(file)) {
        return -EINVAL;
    }
    return file->path[0] != '/' && chdir(WORKSPACE) < 0 ? -errno : 0;
}

static int is_directory(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

int change_make_dir(const struct nest_file *file)
{
    char path[NEST_PATH_MAX];
    bool parents = (file->flags & NEST_MAKE_PARENTS) != 0;
    int error = enter(file);
    if (error < 0) {
        return error;
    }
    memcpy(path, file->path, sizeof(path));
    if (parents) {
        error = files_make_parents(path);
    }
    if (error == 0 && mkdir(path, DIRECTORY_MODE) < 0) {
        error = parents && errno == EEXIST && is_directory(path) ? 0 : -errno;
    }
    return error;
}

int change_move(const struct nest_move *move)
{
    unsigned int keep = (move->file.flags & NEST_REPLACE) != 0 ? 0 : RENAME_KEEP;
    int error = enter(&move->file);
    if (error < 0) {
        return error;
    }
    if (move->to[0] == '\0' || memchr(move->to, '\0', sizeof(move->to)) == NULL) {
        return -EINVAL;
    }
    /* Both start at the same place, so that only one of them need be relative. */
    if (move->to[0] != '/' && chdir(WORKSPACE) < 0) {
        return -errno;
    }
    if (syscall(SYS_renameat2, AT_FDCWD, move->file.path, AT_FDCWD, move->to, keep) < 0) {
        return -errno;
    }
    return 0;
}

/*
 * Empties a directory that lies directly below top: files go, empty directories go, and full ones
 * move up to top, so that no depth that somebody built needs a stack or a long path here.
 */
static int flatten(int top, const char *name, unsigned int *counter)
{
    int fd = openat(top, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (dir == NULL) {
        return -errno;
    }
    int error = 0;
    for (struct dirent *e = readdir(dir); error == 0 && e != NULL; e = readdir(dir)) {
        char spare[SPARE_NAME_SIZE];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) {
            continue;
        }
        if (unlinkat(fd, e->d_name, 0) == 0 || errno == ENOENT) {
            continue;
        }
        if (errno == EISDIR && unlinkat(fd, e->d_name, AT_REMOVEDIR) == 0) {
            continue;
        }
        (void)snprintf(spare, sizeof(spare), ".crownest-removed-%u", (*counter)++);
        if (errno != ENOTEMPTY ||
            (syscall(SYS_renameat2, fd, e->d_name, top, spare, RENAME_KEEP) < 0 &&
             errno != EEXIST)) {
            error = -errno;
        }
    }
    closedir(dir);
    return files_expired() ? -ETIMEDOUT : error;
}

/* Removes what lies in top. More rounds follow while directories come up. */
static int clear(int top)
{
    unsigned int counter = 0;
    for (bool again = true; again;) {
        int fd = openat(top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *dir = fd < 0 ? NULL : fdopendir(fd);
        if (dir == NULL) {
            return -errno;
        }
        int error = 0;
        again = false;
        for (struct dirent *e = readdir(dir); error == 0 && e != NULL; e = readdir(dir)) {
            if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
                unlinkat(top, e->d_name, 0) == 0 || errno == ENOENT) {
                continue;
            }
            if (errno == EISDIR && unlinkat(top, e->d_name, AT_REMOVEDIR) == 0) {
                continue;
            }
            error = errno == ENOTEMPTY ? flatten(top, e->d_name, &counter) : -errno;
            again = true;
        }
        closedir(dir);
        if (error < 0 || files_expired()) {
            return error < 0 ? error : -ETIMEDOUT;
        }
    }
    return 0;
}

int change_remove(const struct nest_file *file)
{
    int error = enter(file);
    if (error < 0) {
        return error;
    }
    if (unlinkat(AT_FDCWD, file->path, 0) == 0) {
        return 0;
    }
    if (errno != EISDIR) {
        return -errno;
    }
    if (unlinkat(AT_FDCWD, file->path, AT_REMOVEDIR) == 0) {
        return 0;
    }
    if (errno != ENOTEMPTY || (file->flags & NEST_RECURSIVE) == 0) {
        return -errno;
    }
    nest_cleanup_fd int top = files_open(file->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    error = top < 0 ? top : clear(top);
    if (error == 0 && unlinkat(AT_FDCWD, file->path, AT_REMOVEDIR) < 0) {
        error = -errno;
    }
    return error;
}
