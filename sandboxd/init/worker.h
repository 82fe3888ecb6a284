/*
 * File operations and connections, each in a short-lived child with the rights of user 1000: its
 * real and saved ids stay nest-init's, so nothing inside can signal or trace it. It answers the
 * server itself; if it ends without having done so, nest-init answers for it.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "sandboxd/init/nest.h"

/* NEST_READ to NEST_CONNECT, as wire.h has them. */
void worker_start(struct nest_message *message);

/* Whether it is at work. */
bool worker_is(pid_t pid);

/* Some child that is not a command's was reaped. */
void worker_on_reaped(pid_t pid, int status);
