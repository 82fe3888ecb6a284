#include "sandboxd/confine.h"

#include <sched.h>

#include "sandboxd/caps.h"
#include "sandboxd/seccomp.h"

int confine_self(struct sd_err *err)
{
    /* Its unix sockets have names in the file system, which no network namespace divides. */
    if (unshare(CLONE_NEWNET) < 0) {
        return sd_err_sys(err, "leave the network");
    }
    int error = caps_keep_own(err);
    return error < 0 ? error : seccomp_confine(err);
}
