#include "sandboxd/caps.h"

#include <errno.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static int bound(uint64_t kept, struct sd_err *err)
{
    for (unsigned long cap = 0; cap < 64; cap++) {
        if ((kept & (1ULL << cap)) != 0) {
            continue;
        }
        if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0) {
            if (errno == EINVAL) {
                break; /* beyond the last one that this kernel knows */
            }
            return sd_err_sys(err, "drop from the bounding set");
        }
    }
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0) {
        return sd_err_sys(err, "clear ambient set");
    }
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? sd_err_sys(err, "no_new_privs") : 0;
}

int caps_drop(struct sd_err *err)
{
    return bound(CAPS_BOUNDING, err);
}

int caps_keep_own(struct sd_err *err)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {
        {.effective = (uint32_t)CAPS_OWN, .permitted = (uint32_t)CAPS_OWN},
        {.effective = (uint32_t)(CAPS_OWN >> 32), .permitted = (uint32_t)(CAPS_OWN >> 32)}};
    int error = bound(CAPS_OWN, err);
    if (error == 0 && syscall(SYS_capset, &header, data) < 0) {
        error = sd_err_sys(err, "capset");
    }
    return error;
}
