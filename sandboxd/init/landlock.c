#include "sandboxd/init/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandboxd/init/nest.h"

/* Newer than Debian 12's headers. */
#define ACCESS_TRUNCATE (1ULL << 14)
#define ACCESS_IOCTL_DEV (1ULL << 15)

#define ABI_REFER 2 /* without it nothing could be renamed from one directory to another */
#define ABI_TRUNCATE 3
#define ABI_IOCTL_DEV 5

static int ruleset = -1;

/* Device nodes are left to the user namespace, which answers as package managers expect. */
static uint64_t handled(long abi)
{
    uint64_t access = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE |
                      LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR |
                      LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |
                      LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |
                      LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |
                      LANDLOCK_ACCESS_FS_MAKE_SYM | LANDLOCK_ACCESS_FS_REFER;
    access |= abi >= ABI_TRUNCATE ? ACCESS_TRUNCATE : 0;
    return access | (abi >= ABI_IOCTL_DEV ? ACCESS_IOCTL_DEV : 0);
}

static int allow_below(const char *path, uint64_t access)
{
    nest_cleanup_fd int dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct landlock_path_beneath_attr rule = {.allowed_access = access, .parent_fd = dir};
    if (dir < 0 ||
        syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0) {
        return -errno;
    }
    return 0;
}

int landlock_init(void)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (abi < ABI_REFER) {
        return 0; /* sandboxd --check-host says so */
    }
    struct landlock_ruleset_attr attr = {.handled_access_fs = handled(abi)};
    ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
    if (ruleset < 0) {
        return -errno;
    }
    int error = allow_below("/", attr.handled_access_fs & ~ACCESS_IOCTL_DEV);
    return error < 0 ? error : allow_below("/dev", attr.handled_access_fs);
}

int landlock_confine(void)
{
    if (ruleset < 0) {
        return 0;
    }
    return syscall(SYS_landlock_restrict_self, ruleset, 0) < 0 ? -errno : 0;
}
