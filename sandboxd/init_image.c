#include "sandboxd/init_image.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sandboxd/io.h"

/* Before 6.3 the kernel does not know it, and makes every memfd executable. */
#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

extern const char nest_init_begin[];
extern const char nest_init_end[];

int init_image_open(int *ret_fd, struct sd_err *err)
{
    const unsigned int flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    io_cleanup_fd int fd = memfd_create("nest-init", flags | MFD_EXEC);
    if (fd < 0 && errno == EINVAL) {
        fd = memfd_create("nest-init", flags);
    }
    if (fd < 0) {
        return sd_err_sys(err, "memfd");
    }
    size_t size = (size_t)(nest_init_end - nest_init_begin);
    for (size_t done = 0; done < size;) {
        ssize_t written = write(fd, nest_init_begin + done, size - done);
        if (written <= 0) {
            return sd_err_sys(err, "write");
        }
        done += (size_t)written;
    }
    if (fchmod(fd, 0555) < 0 ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
        return sd_err_sys(err, "seal");
    }
    *ret_fd = io_take(&fd);
    return 0;
}
