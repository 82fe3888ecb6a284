#include "tools/cli/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "server/util/cleanup.h"

#define CHARACTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"
#define WALK_FDS 16

bool tree_path_valid(const char *path)
{
    if (!path[0] || strlen(path) >= TREE_PATH_MAX)
        return false;
    for (;;) {
        size_t len = strspn(path, CHARACTERS);

        if (!len || path[0] == '.')
            return false;
        if (!path[len])
            return true;
        if (path[len] != '/')
            return false;
        path += len + 1;
    }
}

static int open_beneath(int root, const char *path, int flags, mode_t mode)
{
    struct open_how how = {
        .flags = (unsigned long long)(flags | O_CLOEXEC | O_NOFOLLOW),
        .mode = mode,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    long fd = syscall(SYS_openat2, root, path, &how, sizeof(how));

    return fd < 0 ? -errno : (int)fd;
}

static int make_parents(int root, const char *path)
{
    char part[TREE_PATH_MAX];

    for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        (void)snprintf(part, sizeof(part), "%.*s", (int)(slash - path), path);
        if (mkdirat(root, part, 0700) && errno != EEXIST)
            return -errno;
    }
    return 0;
}

int tree_create(int root, const char *path, struct tree_file *ret_file)
{
    if (!tree_path_valid(path))
        return -EINVAL;
    int result = make_parents(root, path);
    if (result)
        return result;
    int fd = open_beneath(root, path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    if (fd < 0)
        return fd;
    *ret_file = (struct tree_file){.fd = fd, .hash = EVP_MD_CTX_new()};
    if (!ret_file->hash || EVP_DigestInit_ex(ret_file->hash, EVP_sha256(), NULL) != 1)
        abort();
    return 0;
}

int tree_write(struct tree_file *file, const void *data, size_t size)
{
    const uint8_t *from = data;

    (void)EVP_DigestUpdate(file->hash, data, size);
    file->size += size;
    while (size) {
        ssize_t done = write(file->fd, from, size);

        if (done < 0 && errno != EINTR)
            return -errno;
        if (done > 0) {
            from += done;
            size -= (size_t)done;
        }
    }
    return 0;
}

int tree_close(struct tree_file *file, char ret_digest[TREE_DIGEST_SIZE])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int len = 0;

    if (file->fd < 0)
        return 0;
    int result = close(file->fd) ? -errno : 0;
    (void)EVP_DigestFinal_ex(file->hash, digest, &len);
    EVP_MD_CTX_free(file->hash);
    for (unsigned int i = 0; ret_digest && i < len; i++)
        (void)snprintf(ret_digest + 2 * i, 3, "%02x", digest[i]);
    *file = TREE_FILE_NONE;
    return result;
}

int tree_open(int root, const char *path)
{
    struct stat status;

    if (!tree_path_valid(path))
        return -EINVAL;
    cleanup_fd int fd = open_beneath(root, path, O_RDONLY | O_NONBLOCK, 0);
    if (fd < 0)
        return fd;
    if (fstat(fd, &status))
        return -errno;
    return S_ISREG(status.st_mode) ? take_fd(&fd) : -EINVAL;
}

/* For nftw, which has no argument for its callback; the command line has one thread. */
static uid_t owner;
static gid_t group;

static int chown_one(const char *path, const struct stat *status, int type, struct FTW *at)
{
    (void)status;
    (void)type;
    (void)at;
    return lchown(path, owner, group) ? -errno : 0;
}

int tree_chown(const char *path, uid_t uid, gid_t gid)
{
    owner = uid;
    group = gid;
    int result = nftw(path, chown_one, WALK_FDS, FTW_PHYS | FTW_MOUNT);
    return result == -1 ? -errno : result;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *at)
{
    (void)status;
    (void)type;
    (void)at;
    (void)remove(path);
    return 0;
}

void tree_remove(const char *path)
{
    (void)nftw(path, remove_one, WALK_FDS, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

int tree_check_empty(const char *path)
{
    DIR *dir = opendir(path);
    int result = 0;

    if (!dir)
        return errno == ENOENT ? 0 : -errno;
    for (struct dirent *entry; !result && (entry = readdir(dir));) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            result = -ENOTEMPTY;
    }
    (void)closedir(dir);
    return result;
}
