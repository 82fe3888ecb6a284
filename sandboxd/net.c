#include "sandboxd/net.h"

#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "sandboxd/io.h"

int net_loopback_up(struct sd_err *err)
{
    io_cleanup_fd int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) < 0) {
        return sd_err_sys(err, "bring lo up");
    }
    return 0;
}
