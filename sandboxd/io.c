#include "sandboxd/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_FDS 4

void io_close(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

int io_take(int *fd)
{
    int taken = *fd;
    *fd = -1;
    return taken;
}

int io_write_at(int dirfd, const char *path, const char *text)
{
    io_cleanup_fd int fd = openat(dirfd, path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        return -errno;
    }
    size_t length = strlen(text);
    ssize_t written = write(fd, text, length);
    if (written < 0) {
        return -errno;
    }
    return (size_t)written == length ? 0 : -EIO;
}

int io_write_number_at(int dirfd, const char *path, unsigned long long number)
{
    char text[24];
    (void)snprintf(text, sizeof(text), "%llu", number);
    return io_write_at(dirfd, path, text);
}

ssize_t io_read_at(int dirfd, const char *path, char *buffer, size_t size)
{
    io_cleanup_fd int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        return -errno;
    }
    size_t length = 0;
    while (length + 1 < size) {
        ssize_t got = read(fd, buffer + length, size - 1 - length);
        if (got < 0) {
            return -errno;
        }
        if (got == 0) {
            break;
        }
        length += (size_t)got;
    }
    buffer[length] = '\0';
    return (ssize_t)length;
}

int io_read_number_at(int dirfd, const char *path, const char *key, unsigned long long *ret_number)
{
    char text[2048];
    ssize_t length = io_read_at(dirfd, path, text, sizeof(text));
    if (length < 0) {
        return (int)length;
    }
    size_t key_length = strlen(key);
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        if (strncmp(line, key, key_length) != 0) {
            continue;
        }
        if (key_length > 0 && line[key_length] != ' ') {
            continue;
        }
        *ret_number = strtoull(line + key_length, NULL, 10);
        return 0;
    }
    return -ENODATA;
}

int io_send_fds(int socket, const void *data, size_t size, const int *fds, size_t fd_count,
                int flags)
{
    union {
        char buffer[CMSG_SPACE(sizeof(int) * MAX_FDS)];
        struct cmsghdr align;
    } control = {0};
    struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = size};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    if (fd_count > MAX_FDS) {
        return -E2BIG;
    }
    if (fd_count > 0) {
        message.msg_control = control.buffer;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
        memcpy(CMSG_DATA(header), fds, sizeof(int) * fd_count);
    }
    ssize_t sent;
    do {
        sent = sendmsg(socket, &message, flags | MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0) {
        return -errno;
    }
    return (size_t)sent == size ? 0 : -EIO;
}

static size_t take_fds(struct msghdr *message, int *fds, size_t max)
{
    size_t count = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        size_t here = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < here; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
            if (count < max) {
                fds[count] = fd;
            } else {
                close(fd);
            }
            count++;
        }
    }
    return count;
}

ssize_t io_recv_fds(int socket, void *data, size_t size, int *ret_fds, size_t fd_max,
                    size_t *ret_fd_count)
{
    union {
        /* One more than is allowed, so that an excess is seen rather than cut off. */
        char buffer[CMSG_SPACE(sizeof(int) * (MAX_FDS + 1))];
        struct cmsghdr align;
    } control;
    struct iovec iov = {.iov_base = data, .iov_len = size};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.buffer,
                             .msg_controllen = sizeof(control.buffer)};
    ssize_t got;
    do {
        got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        return -errno;
    }
    int fds[MAX_FDS];
    size_t max = fd_max < MAX_FDS ? fd_max : MAX_FDS;
    size_t count = take_fds(&message, fds, max);
    if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0 || count > max) {
        for (size_t i = 0; i < count && i < max; i++) {
            close(fds[i]);
        }
        return -EPROTO;
    }
    for (size_t i = 0; i < count; i++) {
        ret_fds[i] = fds[i];
    }
    if (ret_fd_count != NULL) {
        *ret_fd_count = count;
    }
    return got;
}
