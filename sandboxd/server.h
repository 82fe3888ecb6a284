/*
 * The socket on which the server asks: who may connect, one message a request, replies that never
 * wait for a reader. Single-threaded.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "sandboxd/err.h"
#include "sandboxd/sandbox.h"
#include "sandboxd/wire.h"

/* Listens at path, owned by and for `client` (root may connect too). */
int server_listen(const char *path, uid_t client, struct sd_err *err);

void server_on_listener(void);
void server_on_connection(uint32_t index);

/*
 * Whether it was sent. A connection that has gone or does not read is no reason to wait: then the
 * reply is dropped.
 */
bool server_answer(const struct sandbox_asker *asker, const struct sd_reply *reply, const int *fds,
                   size_t fd_count);
