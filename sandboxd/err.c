#include "sandboxd/err.h"

#include <errno.h>
#include <stddef.h>

static void copy_bounded(char *to, size_t size, const char *from)
{
    size_t i = 0;
    for (; i + 1 < size && from[i] != '\0'; i++) {
        to[i] = from[i];
    }
    to[i] = '\0';
}

int sd_err_set(struct sd_err *err, int code, const char *what)
{
    err->code = -code;
    copy_bounded(err->detail, sizeof(err->detail), what);
    return -code;
}

int sd_err_sys(struct sd_err *err, const char *what)
{
    return sd_err_set(err, errno != 0 ? errno : EIO, what);
}

void sd_err_step(struct sd_err *err, const char *step)
{
    if (err->step[0] == '\0') {
        copy_bounded(err->step, sizeof(err->step), step);
    }
}
