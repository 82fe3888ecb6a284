/* Descriptors and small kernel files: what every step that talks to the kernel needs. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

/* Closes *fd unless it is negative; for __attribute__((cleanup)). */
void io_close(int *fd);
#define io_cleanup_fd __attribute__((cleanup(io_close)))

/* Gives up ownership of *fd: returns it and leaves -1. */
int io_take(int *fd);

/* Writes text to a kernel file in one write. dirfd as for openat. Returns 0 or -errno. */
int io_write_at(int dirfd, const char *path, const char *text);

/* The same with a decimal number. */
int io_write_number_at(int dirfd, const char *path, unsigned long long number);

/* Reads at most size - 1 bytes and ends them with a NUL. Returns the length or -errno. */
ssize_t io_read_at(int dirfd, const char *path, char *buffer, size_t size);

/* The number behind key in a file of "key number" lines (key "" = the file is one number). */
int io_read_number_at(int dirfd, const char *path, const char *key, unsigned long long *ret_number);

/* Sends one message with up to 4 descriptors; never blocks with MSG_DONTWAIT in flags. 0 or -errno.
 */
int io_send_fds(int socket, const void *data, size_t size, const int *fds, size_t fd_count,
                int flags);

/*
 * Receives one message of at most size bytes and up to fd_max descriptors (close-on-exec). More
 * descriptors, or a longer message: -EPROTO, with all of them closed. Returns its length, 0 at the
 * end of the connection, or -errno.
 */
ssize_t io_recv_fds(int socket, void *data, size_t size, int *ret_fds, size_t fd_max,
                    size_t *ret_fd_count);
