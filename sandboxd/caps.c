#include "sandboxd/caps.h"

#include <errno.h>
#include <sys/prctl.h>

int caps_drop(struct sd_err *err)
{
    for (unsigned long cap = 0; cap < 64; cap++) {
        if ((CAPS_BOUNDING & (1ULL << cap)) != 0) {
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
