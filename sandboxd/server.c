#include "sandboxd/server.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "sandboxd/io.h"
#include "sandboxd/loop.h"
#include "sandboxd/requests.h"

#define MAX_CONNECTIONS 8
#define BACKLOG 8
#define SEND_BUFFER_BYTES (8 * 1024 * 1024) /* some 4,096 replies, with the kernel's overhead */

struct connection {
    int fd; /* valid when name != 0 */
    bool greeted;
    uint64_t name; /* never used twice; 0 = free */
};

static struct connection connections[MAX_CONNECTIONS];
static uint64_t last_name;
static int listener = -1;
static uid_t client_uid;

int server_listen(const char *path, uid_t client, struct sd_err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path)) {
        return sd_err_set(err, ENAMETOOLONG, path);
    }
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    io_cleanup_fd int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return sd_err_sys(err, "socket");
    }
    (void)unlink(path);
    mode_t mask = umask(0177);
    int bound = bind(fd, (const struct sockaddr *)&address, sizeof(address));
    (void)umask(mask);
    if (bound < 0 || chown(path, client, (gid_t)-1) < 0 || listen(fd, BACKLOG) < 0) {
        return sd_err_sys(err, path);
    }
    client_uid = client;
    listener = io_take(&fd);
    return loop_add(listener, LOOP_LISTENER, 0, err);
}

static bool may_connect(int fd)
{
    struct ucred peer;
    socklen_t size = sizeof(peer);
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
           (peer.uid == client_uid || peer.uid == 0);
}

void server_on_listener(void)
{
    io_cleanup_fd int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0 || !may_connect(fd)) {
        return;
    }
    for (uint32_t i = 0; i < MAX_CONNECTIONS; i++) {
        struct sd_err err = {0};
        if (connections[i].name != 0) {
            continue;
        }
        const int size = SEND_BUFFER_BYTES;
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
        if (loop_add(fd, LOOP_CONNECTION, i, &err) == 0) {
            connections[i] = (struct connection){.fd = io_take(&fd), .name = ++last_name};
        }
        return;
    }
}

static void end_connection(struct connection *c)
{
    loop_remove(c->fd);
    /* A builder may have a copy of it, and be frozen with its sandbox. */
    (void)shutdown(c->fd, SHUT_RDWR);
    close(c->fd);
    *c = (struct connection){0};
}

void server_on_connection(uint32_t index)
{
    struct connection *c = &connections[index];
    struct sd_request request;
    if (c->name == 0) {
        return;
    }
    ssize_t size = io_recv_fds(c->fd, &request, sizeof(request), NULL, 0, NULL);
    if (size == -EAGAIN) {
        return;
    }
    uint64_t name = c->name;
    if (size <= 0 || requests_handle(name, &request, (size_t)size, &c->greeted) < 0) {
        /* An answer that could not be sent may have ended it already. */
        if (c->name == name) {
            end_connection(c);
        }
    }
}

bool server_answer(const struct sandbox_asker *asker, const struct sd_reply *reply, const int *fds,
                   size_t fd_count)
{
    for (uint32_t i = 0; i < MAX_CONNECTIONS; i++) {
        struct connection *c = &connections[i];
        if (c->name != asker->connection || c->name == 0) {
            continue;
        }
        if (io_send_fds(c->fd, reply, sizeof(*reply), fds, fd_count, MSG_DONTWAIT) < 0) {
            end_connection(c);
            return false;
        }
        return true;
    }
    return false;
}
