#include "tools/cli/check.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "server/util/cleanup.h"

#define PATH_SIZE 4096
#define TEXT_SIZE 16384

void check_set(struct check_result *result, enum check_level level, const char *remedy,
               const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(result->found, sizeof(result->found), format, args);
    va_end(args);
    result->level = level;
    (void)snprintf(result->remedy, sizeof(result->remedy), "%s", remedy);
}

long check_read(const struct check_context *context, const char *path, char *ret_text, size_t size)
{
    char full[PATH_SIZE];
    size_t len = 0;

    ret_text[0] = '\0';
    if (snprintf(full, sizeof(full), "%s%s", context->root, path) >= (int)sizeof(full))
        return -ENAMETOOLONG;
    cleanup_fd int fd = open(full, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    while (len < size - 1) {
        ssize_t part = read(fd, ret_text + len, size - 1 - len);

        if (part < 0)
            return -errno;
        if (part == 0)
            break;
        len += (size_t)part;
    }
    ret_text[len] = '\0';
    return (long)len;
}

static void check_root(const struct check_context *context, struct check_result *result)
{
    (void)context;
    if (geteuid())
        check_set(result, CHECK_WARN, "run `crownest doctor` as root to see everything",
                  "not root: some checks see less than they should");
    else
        check_set(result, CHECK_OK, "", "root");
}

static void check_kernel(const struct check_context *context, struct check_result *result)
{
    char release[128];
    unsigned major = 0;
    unsigned minor = 0;

    (void)check_read(context, "/proc/sys/kernel/osrelease", release, sizeof(release));
    release[strcspn(release, "\n")] = '\0';
    if (sscanf(release, "%u.%u", &major, &minor) != 2)
        check_set(result, CHECK_WARN, "is /proc mounted?", "the kernel's version is not known");
    else if (major < 6 || (major == 6 && minor < 1))
        check_set(result, CHECK_FAIL, "install Linux 6.1 or newer (Debian 12 has it)", "Linux %s",
                  release);
    else
        check_set(result, CHECK_OK, "", "Linux %s%s", release,
                  major == 6 && minor < 12 ? " (templates are mounted through loop devices)" : "");
}

static void check_namespaces(const struct check_context *context, struct check_result *result)
{
    static const char *const kinds[] = {"user", "mnt", "pid", "net", "ipc", "uts", "cgroup"};
    long smallest = -1;

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        char path[64];
        char text[32];

        (void)snprintf(path, sizeof(path), "/proc/sys/user/max_%s_namespaces", kinds[i]);
        long max = check_read(context, path, text, sizeof(text)) > 0 ? strtol(text, NULL, 10) : 0;
        if (max <= 0) {
            char remedy[128];

            (void)snprintf(remedy, sizeof(remedy), "sysctl -w user.max_%s_namespaces=16384",
                           kinds[i]);
            check_set(result, CHECK_FAIL, remedy, "no %s namespaces can be made", kinds[i]);
            return;
        }
        smallest = smallest < 0 || max < smallest ? max : smallest;
    }
    if (smallest < 1024)
        check_set(result, CHECK_WARN, "raise the sysctls user.max_*_namespaces",
                  "at most %ld of a kind: that bounds the number of sandboxes", smallest);
    else
        check_set(result, CHECK_OK, "", "all seven kinds, at least %ld of each", smallest);
}

/* Whether a file system is there, or is a module that the first mount loads. */
static int has_filesystem(const struct check_context *context, const char *name)
{
    char text[TEXT_SIZE];
    char line[64];
    struct utsname uts;
    char path[PATH_SIZE];

    (void)check_read(context, "/proc/filesystems", text, sizeof(text));
    (void)snprintf(line, sizeof(line), "\t%s\n", name);
    if (strstr(text, line))
        return 1;
    if (uname(&uts))
        return 0;
    (void)snprintf(path, sizeof(path), "%s/lib/modules/%s/modules.dep", context->root, uts.release);
    (void)snprintf(line, sizeof(line), "/%s.ko", name);
    FILE *in = fopen(path, "re");
    if (!in)
        return 0;
    char *entry = NULL;
    size_t size = 0;
    int found = 0;
    while (!found && getline(&entry, &size, in) > 0)
        found = strstr(entry, line) != NULL;
    free(entry);
    (void)fclose(in);
    return found;
}

static void check_filesystems(const struct check_context *context, struct check_result *result)
{
    static const char *const names[] = {"erofs", "overlay", "tmpfs", "proc"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (has_filesystem(context, names[i]))
            continue;
        char remedy[96];
        (void)snprintf(remedy, sizeof(remedy), "modprobe %s, or use a kernel that has it",
                       names[i]);
        check_set(result, CHECK_FAIL, remedy, "the kernel has no %s", names[i]);
        return;
    }
    check_set(result, CHECK_OK, "", "erofs and overlay");
}

static void check_landlock(const struct check_context *context, struct check_result *result)
{
    (void)context;
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

    if (abi < 1)
        check_set(result, CHECK_WARN, "boot with landlock in the kernel's lsm= list",
                  "no Landlock: sandboxes do without that layer");
    else
        check_set(result, CHECK_OK, "", "Landlock ABI %ld", abi);
}

static void check_seccomp(const struct check_context *context, struct check_result *result)
{
    char actions[512];

    if (check_read(context, "/proc/sys/kernel/seccomp/actions_avail", actions, sizeof(actions)) <
            0 ||
        !strstr(actions, "kill_process"))
        check_set(result, CHECK_FAIL, "use a kernel with CONFIG_SECCOMP_FILTER",
                  "no seccomp filters");
    else
        check_set(result, CHECK_OK, "", "seccomp filters");
}

static void check_devices(const struct check_context *context, struct check_result *result)
{
    static const char *const names[] = {"null", "zero", "full", "random", "urandom"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char path[PATH_SIZE];
        struct stat info;

        (void)snprintf(path, sizeof(path), "%s/dev/%s", context->root, names[i]);
        if (!stat(path, &info) && S_ISCHR(info.st_mode))
            continue;
        check_set(result, CHECK_FAIL, "mount a devtmpfs on /dev, or make the node with mknod",
                  "/dev/%s is missing or no character device", names[i]);
        return;
    }
    check_set(result, CHECK_OK, "", "null, zero, full, random and urandom");
}

/* The order is that of a reader who fixes things from the top. */
const struct check checks[] = {
    {"root", check_root},
    {"kernel", check_kernel},
    {"namespaces", check_namespaces},
    {"filesystems", check_filesystems},
    {"cgroups", check_cgroups},
    {"io", check_io},
    {"landlock", check_landlock},
    {"seccomp", check_seccomp},
    {"devices", check_devices},
    {"settings", check_settings},
    {"memory", check_memory},
    {"user", check_user},
    {"programs", check_binaries},
    {"templates", check_templates},
    {"address", check_listen},
    {"disk", check_disk},
    {"layer", check_layer},
};

const size_t check_count = sizeof(checks) / sizeof(checks[0]);
