#include "sandboxd/host_check.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandboxd/caps.h"
#include "sandboxd/cgroup.h"
#include "sandboxd/disk.h"
#include "sandboxd/host_setting.h"
#include "sandboxd/io.h"
#include "sandboxd/volume.h"

struct check {
    const char *name;
    bool (*passes)(void);
    bool needed; /* false: sandboxes work, but are less isolated */
    const char *remedy;
};

static bool is_root(void)
{
    return geteuid() == 0;
}

static bool has_filesystem(const char *name)
{
    char text[8192];
    char wanted[64];
    (void)snprintf(wanted, sizeof(wanted), "\t%s\n", name);
    if (io_read_at(AT_FDCWD, "/proc/filesystems", text, sizeof(text)) < 0) {
        return false;
    }
    if (strstr(text, wanted) != NULL) {
        return true;
    }
    /* Opening it makes the kernel load the module. */
    io_cleanup_fd int fs = fsopen(name, FSOPEN_CLOEXEC);
    return fs >= 0;
}

static bool has_overlay(void)
{
    return has_filesystem("overlay");
}

static bool has_erofs(void)
{
    return has_filesystem("erofs");
}

static bool has_openat2(void)
{
    struct open_how how = {.flags = O_PATH | O_CLOEXEC};
    io_cleanup_fd int fd = (int)syscall(SYS_openat2, AT_FDCWD, "/", &how, sizeof(how));
    return fd >= 0;
}

static bool has_mount_setattr(void)
{
    return syscall(SYS_mount_setattr, -1, NULL, 0, NULL, 0) < 0 && errno != ENOSYS;
}

static bool has_user_namespaces(void)
{
    unsigned long long max = 0;
    return io_read_number_at(AT_FDCWD, "/proc/sys/user/max_user_namespaces", "", &max) == 0 &&
           max > 0;
}

static bool has_cgroups(void)
{
    struct sd_err err = {0};
    return cgroup_init(&err) == 0;
}

static bool has_seccomp(void)
{
    return access("/proc/sys/kernel/seccomp/actions_avail", R_OK) == 0;
}

static bool has_landlock(void)
{
    /* LANDLOCK_CREATE_RULESET_VERSION; renaming between directories came with the second. */
    return syscall(SYS_landlock_create_ruleset, NULL, 0, 1) >= 2;
}

static bool has_io_controller(void)
{
    char controllers[512];
    ssize_t length =
        io_read_at(AT_FDCWD, "/sys/fs/cgroup/cgroup.controllers", controllers, sizeof(controllers));
    return length > 0 ? strstr(controllers, "io") != NULL
                      : access("/sys/fs/cgroup/blkio/blkio.throttle.read_bps_device", F_OK) == 0;
}

/* Where state is kept unless somebody says otherwise; --templates adds where they are. */
static bool has_io_disk(void)
{
    struct sd_err err = {0};
    return disk_at(0) != NULL || (disk_add("/var/lib", &err) == 0 && disk_at(0) != NULL);
}

static const struct check CHECKS[] = {
    {"root", is_root, true, "start sandboxd as root"},
    {"openat2 and mount_setattr (Linux 5.12)", has_mount_setattr, true, "use Linux 6.1 or later"},
    {"openat2", has_openat2, true, "use Linux 6.1 or later"},
    {"user namespaces", has_user_namespaces, true, "sysctl user.max_user_namespaces=65536"},
    {"cgroups: memory, cpu, pids and a v2 tree", has_cgroups, true,
     "boot with systemd.unified_cgroup_hierarchy=1"},
    {"overlayfs", has_overlay, true, "modprobe overlay"},
    {"erofs", has_erofs, true, "modprobe erofs"},
    {"seccomp filters", has_seccomp, true, "use a kernel with CONFIG_SECCOMP_FILTER"},
    {"Landlock", has_landlock, false,
     "boot with landlock among the lsm= of the kernel's command line"},
    {"limits on io", has_io_controller, false,
     "use a kernel with the io (or blkio) cgroup controller"},
    {"a disk to set them on", has_io_disk, false,
     "keep templates and state on a file system with a block device of its own"},
};

static int print_layer(const char *volume)
{
    struct sd_err err = {0};
    if (volume == NULL) {
        printf("ok       writable layer: tmpfs charged to memory\n");
        return 0;
    }
    if (volume_check(volume, &err) == 0) {
        printf("ok       writable layer: btrfs subvolume with qgroup at %s\n", volume);
        return 0;
    }
    printf("missing  writable layer: %s: %s: name a directory on btrfs, or none\n", err.detail,
           strerror(-err.code));
    return 1;
}

static void print_settings(void)
{
    for (size_t i = 0; i < host_setting_count; i++) {
        const struct host_setting *setting = &host_settings[i];
        char path[HOST_SETTING_PATH_SIZE];
        char text[512];
        host_setting_path(setting, path);
        if (io_read_at(AT_FDCWD, path, text, sizeof(text)) < 0) {
            continue;
        }
        if (host_setting_is_right(setting, text)) {
            printf("ok       %s\n", setting->what);
        } else if (setting->remedy != NULL) {
            printf("weak     %s: %s\n", setting->what, setting->remedy);
        } else {
            printf("weak     %s: sysctl -w %s=%ld\n", setting->what, setting->name,
                   setting->better);
        }
    }
}

int host_check_print(const char *volume)
{
    int missing = print_layer(volume);
    for (size_t i = 0; i < sizeof(CHECKS) / sizeof(CHECKS[0]); i++) {
        const struct check *c = &CHECKS[i];
        if (c->passes()) {
            printf("ok       %s\n", c->name);
        } else if (c->needed) {
            printf("missing  %s: %s\n", c->name, c->remedy);
            missing++;
        } else {
            printf("weak     %s: %s\n", c->name, c->remedy);
        }
    }
    print_settings();
    if (cgroup_layout_name() != NULL) {
        printf("ok       cgroup layout: %s\n", cgroup_layout_name());
    }
    return missing;
}
