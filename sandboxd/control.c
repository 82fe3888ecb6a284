#include "sandboxd/control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "sandboxd/io.h"

/*
 * A paused nest-init accepts nobody, so this is how often the server may come back before somebody
 * resumes the sandbox.
 */
#define BACKLOG 256

static int directory = -1;

int control_init(const char *path, struct sd_err *err)
{
    if (mkdir(path, 0700) < 0 && errno != EEXIST) {
        return sd_err_sys(err, path);
    }
    directory = open(path, O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    return directory < 0 ? sd_err_sys(err, path) : 0;
}

/* By way of the descriptor, since the directory's own path may be longer than an address holds. */
static struct sockaddr_un address_of(const char *id)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%.40s", directory,
                   id);
    return address;
}

int control_connect(const char *id, int *ret_connection, struct sd_err *err)
{
    const struct sockaddr_un address = address_of(id);
    io_cleanup_fd int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
        return sd_err_sys(err, "connect to nest-init");
    }
    *ret_connection = io_take(&fd);
    return 0;
}

int control_listen(const char *id, int *ret_listener, int *ret_connection, struct sd_err *err)
{
    const struct sockaddr_un address = address_of(id);
    io_cleanup_fd int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    (void)unlinkat(directory, id, 0);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(fd, BACKLOG) < 0) {
        return sd_err_sys(err, "listen for the server");
    }
    int error = control_connect(id, ret_connection, err);
    if (error == 0) {
        *ret_listener = io_take(&fd);
    }
    return error;
}

void control_remove(const char *id)
{
    (void)unlinkat(directory, id, 0);
}
