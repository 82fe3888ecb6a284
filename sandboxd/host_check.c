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

static bool is_zero_setting(const char *path)
{
    unsigned long long number = 0;
    return io_read_number_at(AT_FDCWD, path, "", &number) == -ENOENT || number == 0;
}

static bool is_set_to_zero(const char *path)
{
    return access(path, F_OK) == 0 && is_zero_setting(path);
}

static bool has_no_swap(void)
{
    char text[256];
    ssize_t length = io_read_at(AT_FDCWD, "/proc/swaps", text, sizeof(text));
    return length < 0 || strchr(text, '\n') == strrchr(text, '\n');
}

static bool has_no_ksm(void)
{
    return is_zero_setting("/sys/kernel/mm/ksm/run");
}

static bool has_no_suid_dumps(void)
{
    return is_zero_setting("/proc/sys/fs/suid_dumpable");
}

/* RLIMIT_CORE does not hold back a dump into a pipe, whose reader runs as the host's root. */
static bool dumps_into_files(void)
{
    char pattern[256];
    return io_read_at(AT_FDCWD, "/proc/sys/kernel/core_pattern", pattern, sizeof(pattern)) < 1 ||
           pattern[0] != '|';
}

static bool hides_pointers(void)
{
    return !is_zero_setting("/proc/sys/kernel/kptr_restrict");
}

static bool restricts_dmesg(void)
{
    return !is_zero_setting("/proc/sys/kernel/dmesg_restrict");
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

/* As high, or not there at all. */
static bool is_at_least(const char *path, long long least)
{
    char text[32];
    return io_read_at(AT_FDCWD, path, text, sizeof(text)) < 0 || strtoll(text, NULL, 10) >= least;
}

static bool keeps_bpf_to_root(void)
{
    return is_at_least("/proc/sys/kernel/unprivileged_bpf_disabled", 1);
}

static bool keeps_perf_to_root(void)
{
    return is_at_least("/proc/sys/kernel/perf_event_paranoid", 2);
}

static bool keeps_userfaultfd_to_root(void)
{
    return is_zero_setting("/proc/sys/vm/unprivileged_userfaultfd");
}

static bool keeps_tracing_to_parents(void)
{
    return is_at_least("/proc/sys/kernel/yama/ptrace_scope", 1);
}

/* Debian's and Ubuntu's own settings; other kernels leave it to everybody. */
static bool keeps_user_namespaces_to_root(void)
{
    return is_set_to_zero("/proc/sys/kernel/unprivileged_userns_clone") ||
           !is_zero_setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns");
}

/* No limit of a sandbox counts them. */
static bool has_no_huge_pages(void)
{
    return is_zero_setting("/proc/sys/vm/nr_hugepages") &&
           is_zero_setting("/proc/sys/vm/nr_overcommit_hugepages");
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
    {"no huge pages that sandboxes could take", has_no_huge_pages, false,
     "sysctl vm.nr_hugepages=0 vm.nr_overcommit_hugepages=0"},
    {"no swap", has_no_swap, false, "swapoff -a, or encrypt swap: tenants' memory may reach it"},
    {"kernel same-page merging off", has_no_ksm, false, "echo 0 > /sys/kernel/mm/ksm/run"},
    {"no dumps of privileged processes", has_no_suid_dumps, false, "sysctl fs.suid_dumpable=0"},
    {"no program of the host reads core dumps", dumps_into_files, false,
     "sysctl kernel.core_pattern=core"},
    {"kernel addresses hidden", hides_pointers, false, "sysctl kernel.kptr_restrict=1"},
    {"kernel log restricted", restricts_dmesg, false, "sysctl kernel.dmesg_restrict=1"},
    /* The filter refuses these; here it is a matter of what else runs on the host. */
    {"bpf for root only", keeps_bpf_to_root, false, "sysctl kernel.unprivileged_bpf_disabled=1"},
    {"perf events for root only", keeps_perf_to_root, false, "sysctl kernel.perf_event_paranoid=2"},
    {"userfaultfd for root only", keeps_userfaultfd_to_root, false,
     "sysctl vm.unprivileged_userfaultfd=0"},
    {"user namespaces for root only", keeps_user_namespaces_to_root, false,
     "sysctl kernel.unprivileged_userns_clone=0, on kernels that have it"},
    {"tracing of child processes only", keeps_tracing_to_parents, false,
     "sysctl kernel.yama.ptrace_scope=1"},
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
    if (cgroup_layout_name() != NULL) {
        printf("ok       cgroup layout: %s\n", cgroup_layout_name());
    }
    return missing;
}
