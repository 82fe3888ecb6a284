#include "server/util/fdpass.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include "server/util/close.h"

#define KERNEL_MAX 253 /* descriptors of one message */

union control {
    struct cmsghdr header;
    char space[CMSG_SPACE(FDPASS_MAX * sizeof(int))];
};

/* The kernel itself closes what finds no room, and that may have to wait. */
union control_of_all {
    struct cmsghdr header;
    char space[CMSG_SPACE(KERNEL_MAX * sizeof(int))];
};

int fdpass_send(int socket, const void *data, size_t size, const int *fds, unsigned fd_count)
{
    struct iovec part = {.iov_base = (void *)(uintptr_t)data, .iov_len = size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    union control control = {0};

    if (fd_count > FDPASS_MAX)
        return -EINVAL;
    if (fd_count > 0) {
        message.msg_control = control.space;
        message.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);

        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
        memcpy(CMSG_DATA(header), fds, fd_count * sizeof(int));
    }
    return sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

void fdpass_close(int *fds, unsigned fd_count)
{
    for (unsigned i = 0; i < fd_count; i++) {
        if (fds[i] >= 0)
            close_promptly(fds[i]);
        fds[i] = -1;
    }
}

/* All that came, of which the first FDPASS_MAX are kept. */
static unsigned fdpass_take(struct msghdr *message, int ret_fds[FDPASS_MAX])
{
    unsigned count = 0;

    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header;
         header = CMSG_NXTHDR(message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
            continue;
        size_t fds = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        for (size_t i = 0; i < fds; i++, count++) {
            int fd;

            memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
            if (count < FDPASS_MAX)
                ret_fds[count] = fd;
            else
                close_promptly(fd);
        }
    }
    return count;
}

ssize_t fdpass_receive(int socket, void *data, size_t size, int ret_fds[FDPASS_MAX],
                       unsigned *ret_fd_count)
{
    struct iovec part = {.iov_base = data, .iov_len = size};
    union control_of_all control;
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.space,
                             .msg_controllen = sizeof(control.space)};
    ssize_t got;

    do {
        got = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    } while (got < 0 && errno == EINTR);
    if (got < 0)
        return -errno;
    unsigned count = fdpass_take(&message, ret_fds);

    if ((message.msg_flags & (MSG_CTRUNC | MSG_TRUNC)) || count > FDPASS_MAX) {
        fdpass_close(ret_fds, count < FDPASS_MAX ? count : FDPASS_MAX);
        return -EBADMSG;
    }
    *ret_fd_count = count;
    return got;
}
