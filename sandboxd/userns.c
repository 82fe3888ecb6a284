#include "sandboxd/userns.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <unistd.h>

#include "sandboxd/io.h"
#include "sandboxd/policy.h"

int userns_map(pid_t child, uid_t base, struct sd_err *err)
{
    static const char *const FILES[] = {"uid_map", "gid_map"};
    char map[64];
    (void)snprintf(map, sizeof(map), "0 %u %u", base, POLICY_UIDS_PER_SANDBOX);
    for (size_t i = 0; i < 2; i++) {
        char path[64];
        (void)snprintf(path, sizeof(path), "/proc/%d/%s", child, FILES[i]);
        int error = io_write_at(AT_FDCWD, path, map);
        if (error < 0) {
            return sd_err_set(err, -error, FILES[i]);
        }
    }
    return 0;
}

int userns_open(pid_t child, int *ret_fd, struct sd_err *err)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%d/ns/user", child);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return sd_err_sys(err, path);
    }
    *ret_fd = fd;
    return 0;
}

int userns_become_root(struct sd_err *err)
{
    if (setgroups(0, NULL) < 0) {
        return sd_err_sys(err, "setgroups");
    }
    if (setresgid(0, 0, 0) < 0) {
        return sd_err_sys(err, "setresgid");
    }
    return setresuid(0, 0, 0) < 0 ? sd_err_sys(err, "setresuid") : 0;
}
