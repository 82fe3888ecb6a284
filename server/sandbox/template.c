#include "server/sandbox/template.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/util/cleanup.h"

#define HEX_DIGITS 64
#define DIGEST_PREFIX "sha256:"
#define IMAGE_SUFFIX ".erofs"

static bool is_name(const char *text)
{
    size_t size = strlen(text);

    return size > 0 && size < TEMPLATE_NAME_SIZE && text[0] >= 'a' && text[0] <= 'z' &&
           strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") == size;
}

static bool is_hex(const char *text)
{
    return strlen(text) == HEX_DIGITS && strspn(text, "0123456789abcdef") == HEX_DIGITS;
}

static void hex_decode(const char *hex, uint8_t ret_hash[32])
{
    for (size_t i = 0; i < 32; i++) {
        char pair[3] = {hex[2 * i], hex[2 * i + 1], '\0'};

        ret_hash[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
}

/* The digest that a name's symlink points to. */
static int read_link(int directory_fd, const char *name, char ret_hex[HEX_DIGITS + 1])
{
    char target[HEX_DIGITS + sizeof(IMAGE_SUFFIX) + 1];
    ssize_t size = readlinkat(directory_fd, name, target, sizeof(target) - 1);

    if (size < 0)
        return errno == EINVAL ? -ENOENT : -errno;
    target[size] = '\0';
    char *suffix = strstr(target, IMAGE_SUFFIX);

    if (!suffix || suffix[sizeof(IMAGE_SUFFIX) - 1] != '\0')
        return -ENOENT;
    *suffix = '\0';
    if (!is_hex(target))
        return -ENOENT;
    memcpy(ret_hex, target, HEX_DIGITS + 1);
    return 0;
}

static int describe(int directory_fd, const char *hex, struct template_info *ret_info)
{
    char file[HEX_DIGITS + sizeof(IMAGE_SUFFIX)];
    struct stat st;

    (void)snprintf(file, sizeof(file), "%s" IMAGE_SUFFIX, hex);
    if (fstatat(directory_fd, file, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -ENOENT;
    (void)snprintf(ret_info->digest, sizeof(ret_info->digest), DIGEST_PREFIX "%s", hex);
    hex_decode(hex, ret_info->hash);
    ret_info->size_bytes = (uint64_t)st.st_size;
    ret_info->create_time_ms =
        (uint64_t)st.st_mtim.tv_sec * 1000 + (uint64_t)st.st_mtim.tv_nsec / 1000000;
    return 0;
}

static int find_in(int directory_fd, const char *name, struct template_info *ret_info)
{
    struct template_info info = {0};
    char hex[HEX_DIGITS + 1];
    size_t prefix = sizeof(DIGEST_PREFIX) - 1;

    if (strncmp(name, DIGEST_PREFIX, prefix) == 0 && is_hex(name + prefix)) {
        memcpy(hex, name + prefix, sizeof(hex));
    } else if (is_name(name)) {
        int r = read_link(directory_fd, name, hex);

        if (r < 0)
            return r;
        memcpy(info.name, name, strlen(name) + 1);
    } else {
        return -EINVAL;
    }
    int r = describe(directory_fd, hex, &info);

    if (r == 0)
        *ret_info = info;
    return r;
}

int template_find(const char *directory, const char *name, struct template_info *ret_info)
{
    cleanup_fd int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return fd < 0 ? -errno : find_in(fd, name, ret_info);
}

int template_list(const char *directory, bool (*visit)(void *arg, const struct template_info *info),
                  void *arg)
{
    DIR *dir = opendir(directory);
    bool more = true;

    if (!dir)
        return -errno;
    for (struct dirent *entry; more && (entry = readdir(dir)) != NULL;) {
        struct template_info info;

        if (is_name(entry->d_name) && find_in(dirfd(dir), entry->d_name, &info) == 0)
            more = visit(arg, &info);
    }
    (void)closedir(dir);
    return 0;
}
