#include "tests/jail/attacks.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <mqueue.h>
#include <net/if.h>
#include <net/route.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

long open_queue(void)
{
    return mq_open("/crownest-canary", O_RDONLY);
}

static struct sockaddr_in address_of(const char *address, uint16_t port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
    (void)inet_pton(AF_INET, address, &in.sin_addr);
    return in;
}

long connect_to(const char *address, uint16_t port)
{
    struct sockaddr_in in = address_of(address, port);
    return connect(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&in, sizeof(in));
}

long connect_to6(const char *address, uint16_t port)
{
    struct sockaddr_in6 in = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    (void)inet_pton(AF_INET6, address, &in.sin6_addr);
    return connect(socket(AF_INET6, SOCK_STREAM, 0), (struct sockaddr *)&in, sizeof(in));
}

long send_to(const char *address, uint16_t port)
{
    struct sockaddr_in in = address_of(address, port);
    return sendto(socket(AF_INET, SOCK_DGRAM, 0), "x", 1, 0, (struct sockaddr *)&in, sizeof(in));
}

long bind_port(uint16_t port)
{
    struct sockaddr_in in = address_of("127.0.0.1", port);
    return bind(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&in, sizeof(in));
}

static long connect_unix(const char *name, size_t skip)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    size_t length = strlen(name);
    memcpy(un.sun_path + skip, name, length);
    return connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&un,
                   (socklen_t)(offsetof(struct sockaddr_un, sun_path) + skip + length));
}

long connect_abstract(const char *name)
{
    return connect_unix(name, 1);
}

long connect_path(const char *path)
{
    return connect_unix(path, 0);
}

long interface_down(void)
{
    struct ifreq request = {.ifr_name = "lo"};
    return ioctl(socket(AF_INET, SOCK_DGRAM, 0), SIOCSIFFLAGS, &request);
}

long route_add(void)
{
    struct rtentry entry = {.rt_flags = RTF_UP};
    return ioctl(socket(AF_INET, SOCK_DGRAM, 0), SIOCADDRT, &entry);
}

long setsockopt_on(int level, int option)
{
    int value[32] = {1 << 24};
    return setsockopt(socket(AF_INET, SOCK_STREAM, 0), level, option, value, sizeof(value));
}
