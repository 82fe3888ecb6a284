#include "sandboxd/image.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sandboxd/io.h"

#define HEX_SIZE (SD_DIGEST_SIZE * 2 + 1)
#define LOOP_ATTEMPTS 16 /* another process may take the free loop device first */

static const char *templates_dir;
static const char *mounts_dir;
static uint8_t mounted[IMAGE_MAX_MOUNTED][SD_DIGEST_SIZE];
static size_t mounted_count;

int image_init(const char *templates, const char *mounts, struct sd_err *err)
{
    templates_dir = templates;
    mounts_dir = mounts;
    if (mkdir(mounts, 0700) < 0 && errno != EEXIST) {
        return sd_err_sys(err, mounts);
    }
    return 0;
}

static void to_hex(const uint8_t digest[SD_DIGEST_SIZE], char ret_hex[HEX_SIZE])
{
    static const char DIGITS[] = "0123456789abcdef";
    for (size_t i = 0; i < SD_DIGEST_SIZE; i++) {
        ret_hex[i * 2] = DIGITS[digest[i] >> 4];
        ret_hex[i * 2 + 1] = DIGITS[digest[i] & 15];
    }
    ret_hex[HEX_SIZE - 1] = '\0';
}

/* Attaches the file to a free loop device that goes away with its last user. Returns its fd. */
static int attach_loop(int file, char *ret_path, size_t size)
{
    io_cleanup_fd int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    if (control < 0) {
        return -errno;
    }
    for (int i = 0; i < LOOP_ATTEMPTS; i++) {
        int number = ioctl(control, LOOP_CTL_GET_FREE);
        if (number < 0) {
            return -errno;
        }
        (void)snprintf(ret_path, size, "/dev/loop%d", number);
        io_cleanup_fd int device = open(ret_path, O_RDONLY | O_CLOEXEC);
        struct loop_config config = {
            .fd = (uint32_t)file,
            .info.lo_flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR,
        };
        if (device >= 0 && ioctl(device, LOOP_CONFIGURE, &config) == 0) {
            return io_take(&device);
        }
        if (errno != EBUSY) {
            return -errno;
        }
    }
    return -EBUSY;
}

static int mount_image(const char *file, const char *target, struct sd_err *err)
{
    const unsigned long flags = MS_RDONLY | MS_NOSUID | MS_NODEV;
    if (mount(file, target, "erofs", flags, NULL) == 0) {
        return 0;
    }
    if (errno != ENOTBLK) {
        return sd_err_sys(err, file);
    }
    /* Before 6.12 erofs wants a block device. */
    io_cleanup_fd int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return sd_err_sys(err, file);
    }
    char path[32];
    io_cleanup_fd int device = attach_loop(fd, path, sizeof(path));
    if (device < 0) {
        return sd_err_set(err, -device, "loop device");
    }
    return mount(path, target, "erofs", flags, NULL) < 0 ? sd_err_sys(err, file) : 0;
}

int image_get(const uint8_t digest[SD_DIGEST_SIZE], char ret_path[PATH_MAX], struct sd_err *err)
{
    char hex[HEX_SIZE];
    to_hex(digest, hex);
    char file[PATH_MAX];
    char target[PATH_MAX];
    if (snprintf(file, sizeof(file), "%s/%s.erofs", templates_dir, hex) >= PATH_MAX ||
        snprintf(target, sizeof(target), "%s/%s", mounts_dir, hex) >= PATH_MAX) {
        return sd_err_set(err, ENAMETOOLONG, templates_dir);
    }
    for (size_t i = 0; i < mounted_count; i++) {
        if (memcmp(mounted[i], digest, SD_DIGEST_SIZE) == 0) {
            memcpy(ret_path, target, PATH_MAX);
            return 0;
        }
    }
    if (mounted_count == IMAGE_MAX_MOUNTED) {
        return sd_err_set(err, ENOSPC, "too many templates mounted");
    }
    if (access(file, R_OK) < 0) {
        return sd_err_sys(err, file);
    }
    if (mkdir(target, 0700) < 0 && errno != EEXIST) {
        return sd_err_sys(err, target);
    }
    int error = mount_image(file, target, err);
    if (error == 0) {
        memcpy(mounted[mounted_count++], digest, SD_DIGEST_SIZE);
        memcpy(ret_path, target, PATH_MAX);
    }
    return error;
}
