/*
 * Control sockets of nest-inits: each listens on a unix socket (SOCK_SEQPACKET) that lies in a
 * directory of sandboxd's own, 0700, and was made before the jail was closed. So whoever comes back
 * after a crash can reach a sandbox by its id, and nothing inside can.
 */
#pragma once

#include "sandboxd/err.h"

/* Makes the directory. The string stays the caller's. */
int control_init(const char *path, struct sd_err *err);

/* Builder: a socket that listens under the id, and a first connection to it. */
int control_listen(const char *id, int *ret_listener, int *ret_connection, struct sd_err *err);

/* A further connection, which makes nest-init drop the one before. Never waits. */
int control_connect(const char *id, int *ret_connection, struct sd_err *err);

void control_remove(const char *id);
