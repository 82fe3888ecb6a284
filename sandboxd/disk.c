#include "sandboxd/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "sandboxd/io.h"

static char disks[DISK_MAX][DISK_NAME_SIZE];
static size_t count;

/*
 * File systems like btrfs give their files a device number that no disk has, nor the mount, which
 * is therefore found by its own id; it names the disk.
 */
static bool find_source(const char *path, char *ret_source, size_t size)
{
    struct statx st;
    unsigned long long id;
    char line[PATH_MAX];
    bool found = false;
    if (statx(AT_FDCWD, path, 0, STATX_MNT_ID, &st) < 0) {
        return false;
    }
    FILE *mounts = fopen("/proc/self/mountinfo", "re");
    while (mounts != NULL && !found && fgets(line, sizeof(line), mounts) != NULL) {
        char *rest = strstr(line, " - ");
        found = rest != NULL && sscanf(line, "%llu ", &id) == 1 && id == st.stx_mnt_id &&
                sscanf(rest, " - %*s %255s", ret_source) == 1 && strlen(ret_source) < size;
    }
    if (mounts != NULL) {
        (void)fclose(mounts);
    }
    return found;
}

/* A limit can be set on a whole disk only. */
static void find_disk(dev_t device, char ret_name[DISK_NAME_SIZE])
{
    char path[64];
    char text[DISK_NAME_SIZE];
    (void)snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/partition", major(device),
                   minor(device));
    bool partition = access(path, F_OK) == 0;
    (void)snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/%sdev", major(device), minor(device),
                   partition ? "../" : "");
    ssize_t length = io_read_at(AT_FDCWD, path, text, sizeof(text));
    if (length > 1) {
        text[strcspn(text, "\n")] = '\0';
        memcpy(ret_name, text, DISK_NAME_SIZE);
    }
}

int disk_add(const char *path, struct sd_err *err)
{
    char source[256];
    char name[DISK_NAME_SIZE] = "";
    struct stat st;
    if (stat(path, &st) < 0) {
        return sd_err_sys(err, path);
    }
    dev_t device = st.st_dev;
    if (major(device) == 0) {
        if (!find_source(path, source, sizeof(source)) || stat(source, &st) < 0 ||
            !S_ISBLK(st.st_mode)) {
            return 0;
        }
        device = st.st_rdev;
    }
    find_disk(device, name);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(disks[i], name) == 0) {
            return 0;
        }
    }
    if (name[0] != '\0' && count < DISK_MAX) {
        memcpy(disks[count++], name, sizeof(name));
    }
    return 0;
}

const char *disk_at(size_t index)
{
    return index < count ? disks[index] : NULL;
}
