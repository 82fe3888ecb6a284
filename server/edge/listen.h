/* The two listening sockets. Both are non-blocking and CLOEXEC. */
#pragma once

#include <stdint.h>

#include "server/util/err.h"

/* address: "127.0.0.1:7070" or "[::1]:7070". Returns the socket or -errno. */
int listen_tcp(const char *address, uint16_t *ret_port, struct err *err);
/* Takes the path over, whatever was there before; nobody but the owner can connect. Returns the
 * socket or -errno. */
int listen_unix(const char *path, struct err *err);
