/* Messages with descriptors over unix SOCK_SEQPACKET sockets. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

#define FDPASS_MAX 4

/* Sends one message; never blocks, never raises SIGPIPE. Returns 0 or a negative errno. */
int fdpass_send(int socket, const void *data, size_t size, const int *fds, unsigned fd_count);

/*
 * Receives one message and up to FDPASS_MAX descriptors (CLOEXEC), which the caller owns. Returns
 * the message's size, 0 at the end, or a negative errno: -EAGAIN when nothing is there, -EBADMSG
 * for a message that was cut or has more descriptors, which are closed.
 */
ssize_t fdpass_receive(int socket, void *data, size_t size, int ret_fds[FDPASS_MAX],
                       unsigned *ret_fd_count);

/* Does not wait, wherever they came from. */
void fdpass_close(int *fds, unsigned fd_count);
