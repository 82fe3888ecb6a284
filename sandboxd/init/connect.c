#include "sandboxd/init/connect.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "sandboxd/init/nest.h"

#define MAX_PORT 65535

static int try_address(const struct sockaddr *address, socklen_t size, int *ret_fd)
{
    nest_cleanup_fd int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, address, size) < 0) {
        return errno == EINTR ? -ETIMEDOUT : -errno;
    }
    *ret_fd = fd;
    fd = -1;
    return 0;
}

int connect_port(uint32_t port, int *ret_fd)
{
    if (port == 0 || port > MAX_PORT) {
        return -EINVAL;
    }
    struct sockaddr_in v4 = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6,
                              .sin6_port = htons((uint16_t)port),
                              .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int error = try_address((const struct sockaddr *)&v4, sizeof(v4), ret_fd);
    if (error == -ECONNREFUSED) {
        error = try_address((const struct sockaddr *)&v6, sizeof(v6), ret_fd);
        /* A host without IPv6 has said enough with its first answer. */
        error = error == -EADDRNOTAVAIL || error == -EAFNOSUPPORT ? -ECONNREFUSED : error;
    }
    return error;
}
