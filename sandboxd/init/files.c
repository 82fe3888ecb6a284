#include "sandboxd/init/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "sandboxd/init/nest.h"

#define WORKSPACE "/workspace"
#define DIRECTORY_MODE 0755
#define CHUNK (64 * 1024)
#define MAX_ENTRIES 100000
#define TEMPORARY_SIZE 48
#define TEMPORARY_ATTEMPTS 8

static volatile sig_atomic_t expired;

static void on_alarm(int signo)
{
    (void)signo;
    expired = 1;
}

int files_set_deadline(unsigned int seconds)
{
    struct sigaction action = {.sa_handler = on_alarm};
    /* Repeated, since one that comes just before a call blocks would be lost. */
    struct itimerval timer = {.it_value.tv_sec = (time_t)seconds, .it_interval.tv_sec = 1};
    if (sigaction(SIGALRM, &action, NULL) < 0 || setitimer(ITIMER_REAL, &timer, NULL) < 0) {
        return -errno;
    }
    return 0;
}

bool files_expired(void)
{
    return expired != 0;
}

static int failure(void)
{
    return expired ? -ETIMEDOUT : -errno;
}

bool files_path_is_good(const struct nest_file *file)
{
    return file->path[0] != '\0' && memchr(file->path, '\0', sizeof(file->path)) != NULL;
}

int files_open(const char *path, uint64_t flags, uint64_t resolve)
{
    struct open_how how = {.flags = flags | O_CLOEXEC, .resolve = resolve | RESOLVE_NO_MAGICLINKS};
    if (path[0] != '/' && chdir(WORKSPACE) < 0) {
        return -errno;
    }
    int fd = (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));
    return fd < 0 ? failure() : fd;
}

int files_read(const struct nest_file *file, uint64_t *ret_size, int *ret_fd)
{
    struct stat st;
    uint64_t resolve = (file->flags & NEST_NO_SYMLINKS) != 0 ? RESOLVE_NO_SYMLINKS : 0;
    if (!files_path_is_good(file)) {
        return -EINVAL;
    }
    nest_cleanup_fd int fd = files_open(file->path, O_RDONLY | O_NONBLOCK | O_NOCTTY, resolve);
    if (fd < 0) {
        return fd;
    }
    if (fstat(fd, &st) < 0) {
        return -errno;
    }
    if (!S_ISREG(st.st_mode)) {
        return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
    }
    *ret_size = (uint64_t)st.st_size;
    *ret_fd = fd;
    fd = -1;
    return 0;
}

/* --- writing --- */

int files_make_parents(char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        int made = mkdir(path, DIRECTORY_MODE);
        *slash = '/';
        if (made < 0 && errno != EEXIST) {
            return -errno;
        }
    }
    return 0;
}

/* Waits rather than fail: the flag is the pipe's, and so of whoever gave it to us. */
static ssize_t read_pipe(int pipe, char *buffer, size_t size)
{
    for (;;) {
        ssize_t got = read(pipe, buffer, size);
        if (got >= 0) {
            return got;
        }
        if (errno == EAGAIN) {
            struct pollfd wait = {.fd = pipe, .events = POLLIN};
            (void)poll(&wait, 1, -1);
        } else if (errno != EINTR) {
            return -errno;
        }
        if (expired) {
            return -ETIMEDOUT;
        }
    }
}

static int write_all(int fd, const void *data, size_t size)
{
    const char *at = data;
    while (size > 0) {
        ssize_t put = write(fd, at, size);
        if (put > 0) {
            at += put;
            size -= (size_t)put;
            continue;
        }
        if (errno == EAGAIN) {
            struct pollfd wait = {.fd = fd, .events = POLLOUT};
            (void)poll(&wait, 1, -1);
        } else if (errno != EINTR) {
            return -errno;
        }
        if (expired) {
            return -ETIMEDOUT;
        }
    }
    return 0;
}

/* Reads exactly size bytes; a pipe that ends before them is the server's way to give up. */
static int read_whole(int pipe, void *data, size_t size)
{
    char *at = data;
    while (size > 0) {
        ssize_t got = read_pipe(pipe, at, size);
        if (got <= 0) {
            return got < 0 ? (int)got : -ECANCELED;
        }
        at += got;
        size -= (size_t)got;
    }
    return 0;
}

static int copy_chunk(int from, int to, uint32_t size)
{
    static char chunk[CHUNK];
    while (size > 0) {
        ssize_t got = read_pipe(from, chunk, size < sizeof(chunk) ? size : sizeof(chunk));
        if (got <= 0) {
            return got < 0 ? (int)got : -ECANCELED;
        }
        int error = write_all(to, chunk, (size_t)got);
        if (error < 0) {
            return error;
        }
        size -= (uint32_t)got;
    }
    return 0;
}

static int copy(int from, int to, uint64_t *ret_copied)
{
    uint64_t copied = 0;
    for (;;) {
        uint32_t size;
        int error = read_whole(from, &size, sizeof(size));
        if (error == 0 && size > NEST_CHUNK_MAX) {
            error = -EPROTO;
        }
        if (error == 0) {
            error = copy_chunk(from, to, size);
        }
        if (error < 0) {
            return error;
        }
        copied += size;
        if (size == 0) {
            *ret_copied = copied;
            return 0;
        }
    }
}

static int make_temporary(int dir, mode_t mode, char ret_name[TEMPORARY_SIZE])
{
    for (int i = 0; i < TEMPORARY_ATTEMPTS; i++) {
        uint64_t random;
        if (syscall(SYS_getrandom, &random, sizeof(random), 0) != (long)sizeof(random)) {
            return -errno;
        }
        (void)snprintf(ret_name, TEMPORARY_SIZE, NEST_UPLOAD_NAME, (unsigned long long)random);
        int fd = openat(dir, ret_name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
        if (fd >= 0 || errno != EEXIST) {
            return fd < 0 ? -errno : fd;
        }
    }
    return -EEXIST;
}

/*
 * The file of an upload, locked: who wrote to it before may not have seen yet that it was cut off.
 * -ESTALE: that one has finished it meanwhile, and the name is free again.
 */
static int lock_upload(int dir, const char *name)
{
    struct stat st;
    struct stat named;
    nest_cleanup_fd int fd = openat(
        dir, name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (fd < 0 || fstat(fd, &st) < 0) {
        return -errno;
    }
    if (!S_ISREG(st.st_mode)) {
        return -EINVAL;
    }
    if (flock(fd, LOCK_EX) < 0) {
        return failure();
    }
    if (fstatat(dir, name, &named, AT_SYMLINK_NOFOLLOW) < 0 || named.st_ino != st.st_ino) {
        return -ESTALE;
    }
    int locked = fd;
    fd = -1;
    return locked;
}

/* What is there must be as many bytes as the server says; from 0 it is new. */
static int open_upload(int dir, const struct nest_file *file, char ret_name[TEMPORARY_SIZE])
{
    struct stat st;
    (void)snprintf(ret_name, TEMPORARY_SIZE, NEST_UPLOAD_NAME, (unsigned long long)file->upload);
    int fd = -ESTALE;
    for (int i = 0; i < TEMPORARY_ATTEMPTS && fd == -ESTALE; i++) {
        fd = lock_upload(dir, ret_name);
    }
    if (fd < 0) {
        return fd;
    }
    int error = fstat(fd, &st) < 0 ? -errno : 0;
    if (error == 0 && file->offset == 0) {
        error = ftruncate(fd, 0) < 0 ? -errno : 0;
    } else if (error == 0 && (uint64_t)st.st_size != file->offset) {
        error = -ERANGE;
    }
    if (error < 0) {
        close(fd);
        return error;
    }
    return fd;
}

/* An existing file keeps its mode; a directory cannot be replaced, and is found before the copy. */
static int choose_mode(int dir, const char *name, uint32_t wanted, mode_t *ret_mode)
{
    struct stat st;
    *ret_mode = wanted & 0777;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        return errno == ENOENT ? 0 : -errno;
    }
    if (S_ISDIR(st.st_mode)) {
        return -EISDIR;
    }
    if (S_ISREG(st.st_mode)) {
        *ret_mode = st.st_mode & 0777;
    }
    return 0;
}

static int replace(int dir, const char *name, const struct nest_file *file, int pipe,
                   uint64_t *ret_written)
{
    char temporary[TEMPORARY_SIZE];
    mode_t chosen;
    uint64_t copied = 0;
    int error = choose_mode(dir, name, file->mode, &chosen);
    if (error < 0) {
        return error;
    }
    nest_cleanup_fd int fd = file->upload != 0 ? open_upload(dir, file, temporary)
                                               : make_temporary(dir, chosen, temporary);
    if (fd < 0) {
        return fd;
    }
    error = copy(pipe, fd, &copied);
    if (error == 0 && (fchmod(fd, chosen) < 0 || renameat(dir, temporary, dir, name) < 0)) {
        error = -errno;
    }
    if (error < 0 && file->upload == 0) {
        (void)unlinkat(dir, temporary, 0);
    }
    *ret_written = file->offset + copied;
    return error;
}

int files_write(const struct nest_file *file, int pipe, uint64_t *ret_written)
{
    char path[NEST_PATH_MAX];
    if (!files_path_is_good(file)) {
        return -EINVAL;
    }
    memcpy(path, file->path, sizeof(path));
    char *slash = strrchr(path, '/');
    const char *name = slash == NULL ? path : slash + 1;
    if (name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        return -EISDIR;
    }
    if (strlen(name) >= NEST_NAME_MAX) {
        return -ENAMETOOLONG;
    }
    if (path[0] != '/' && chdir(WORKSPACE) < 0) {
        return -errno;
    }
    if ((file->flags & NEST_MAKE_PARENTS) != 0) {
        int error = files_make_parents(path);
        if (error < 0) {
            return error;
        }
    }
    /* What is before the name; "/" for a file of the root directory. */
    const char *parent = ".";
    if (slash == path) {
        parent = "/";
    } else if (slash != NULL) {
        *slash = '\0';
        parent = path;
    }
    nest_cleanup_fd int dir = files_open(parent, O_RDONLY | O_DIRECTORY, 0);
    return dir < 0 ? dir : replace(dir, name, file, pipe, ret_written);
}

/* --- listing --- */

int files_put_entry(int pipe, const struct stat *st, const char *name, size_t name_bytes)
{
    char record[sizeof(struct nest_entry) + NEST_PATH_MAX];
    struct nest_entry entry = {
        .type = st->st_mode & S_IFMT,
        .mode = st->st_mode & 07777,
        .size_bytes = (uint64_t)st->st_size,
        .mtime_sec = st->st_mtim.tv_sec,
        .mtime_nsec = (uint32_t)st->st_mtim.tv_nsec,
        .name_bytes = (uint32_t)name_bytes,
    };
    if (name_bytes > NEST_PATH_MAX) {
        return -ENAMETOOLONG;
    }
    memcpy(record, &entry, sizeof(entry));
    memcpy(record + sizeof(entry), name, name_bytes);
    return write_all(pipe, record, sizeof(entry) + name_bytes);
}

int files_list(const struct nest_file *file, int pipe, uint64_t *ret_count)
{
    if (!files_path_is_good(file)) {
        return -EINVAL;
    }
    int fd = files_open(file->path, O_RDONLY | O_DIRECTORY, 0);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (dir == NULL) {
        return fd < 0 ? fd : -errno;
    }
    uint64_t count = 0;
    int error = 0;
    for (struct dirent *e = readdir(dir); error == 0 && e != NULL; e = readdir(dir)) {
        struct stat st;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
            fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
            continue; /* gone again, which is as good as never seen */
        }
        error = count == MAX_ENTRIES ? -E2BIG
                                     : files_put_entry(pipe, &st, e->d_name, strlen(e->d_name));
        count += error == 0;
    }
    closedir(dir);
    *ret_count = count;
    return error;
}

int files_stat(const struct nest_file *file, int pipe)
{
    struct stat st;
    if (!files_path_is_good(file)) {
        return -EINVAL;
    }
    if (file->path[0] != '/' && chdir(WORKSPACE) < 0) {
        return -errno;
    }
    if (fstatat(AT_FDCWD, file->path, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        return failure();
    }
    const char *slash = strrchr(file->path, '/');
    const char *name = slash == NULL || slash[1] == '\0' ? file->path : slash + 1;
    return files_put_entry(pipe, &st, name, strlen(name));
}
