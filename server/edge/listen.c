#include "server/edge/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "server/util/cleanup.h"

#define BACKLOG 4096

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static bool parse_port(const char *text, uint16_t *ret_port)
{
    char *end;
    unsigned long port = strtoul(text, &end, 10);

    if (text[0] < '0' || text[0] > '9' || *end || port > UINT16_MAX)
        return false;
    *ret_port = (uint16_t)port;
    return true;
}

/* Numeric addresses only: names would need a resolver before the server is up. */
static socklen_t parse_address(const char *text, union address *ret_address)
{
    char host[INET6_ADDRSTRLEN];
    const char *colon = strrchr(text, ':');
    bool bracketed = text[0] == '[';
    uint16_t port;

    if (!colon || !parse_port(colon + 1, &port) || (bracketed && colon[-1] != ']'))
        return 0;
    const char *from = text + bracketed;
    size_t size = (size_t)(colon - from) - bracketed;

    if (size == 0 || size >= sizeof(host))
        return 0;
    memcpy(host, from, size);
    host[size] = '\0';
    *ret_address = (union address){0};
    if (bracketed && inet_pton(AF_INET6, host, &ret_address->v6.sin6_addr) == 1) {
        ret_address->v6.sin6_family = AF_INET6;
        ret_address->v6.sin6_port = htons(port);
        return sizeof(ret_address->v6);
    }
    if (!bracketed && inet_pton(AF_INET, host, &ret_address->v4.sin_addr) == 1) {
        ret_address->v4.sin_family = AF_INET;
        ret_address->v4.sin_port = htons(port);
        return sizeof(ret_address->v4);
    }
    return 0;
}

int listen_tcp(const char *address, uint16_t *ret_port, struct err *err)
{
    union address name;
    socklen_t size = parse_address(address, &name);
    int on = 1;

    if (size == 0)
        return err_set(err, EINVAL, "%s is not an address and port such as 127.0.0.1:7070",
                       address);
    cleanup_fd int fd = socket(name.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return err_set(err, errno, "cannot make a socket: %s", strerror(errno));
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        bind(fd, &name.any, size) < 0 || listen(fd, BACKLOG) < 0 ||
        getsockname(fd, &name.any, &size) < 0)
        return err_set(err, errno, "cannot listen on %s: %s", address, strerror(errno));
    *ret_port = ntohs(name.any.sa_family == AF_INET ? name.v4.sin_port : name.v6.sin6_port);
    return take_fd(&fd);
}

/*
 * The socket appears under its name only when it is complete: bound beside it, closed to others,
 * listening, then renamed over whatever is there.
 */
static int listen_aside(int fd, const char *aside, const char *path)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};

    (void)snprintf(name.sun_path, sizeof(name.sun_path), "%s", aside);
    (void)unlink(aside);
    if (bind(fd, (const struct sockaddr *)&name, sizeof(name)) < 0)
        return -errno;
    if (chmod(aside, 0600) < 0 || listen(fd, BACKLOG) < 0 || rename(aside, path) < 0) {
        int code = -errno;

        (void)unlink(aside);
        return code;
    }
    return 0;
}

int listen_unix(const char *path, struct err *err)
{
    char aside[sizeof(((struct sockaddr_un *)0)->sun_path)];

    if (snprintf(aside, sizeof(aside), "%s.new", path) >= (int)sizeof(aside))
        return err_set(err, ENAMETOOLONG, "%s is too long for the name of a socket", path);
    cleanup_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return err_set(err, errno, "cannot make a socket: %s", strerror(errno));
    int code = listen_aside(fd, aside, path);

    if (code < 0)
        return err_set(err, -code, "cannot listen on %s: %s", path, strerror(-code));
    return take_fd(&fd);
}
