/* Starts the first process of a command. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "sandboxd/init/wire.h"

struct spawn_result {
    pid_t pid;
    int status;     /* end of file = exec went well, else a struct exec_failure can be read */
    int cgroup;     /* directory of the command's group */
    uint64_t group; /* its number */
    int pipes[3];   /* our ends: stdin's write end, stdout's and stderr's read ends */
    int terminal;   /* our end of it, or -1 */
    pid_t relay;    /* see relay.h; 0 without a terminal */
};

/*
 * Has a process wait for the next command, see exec.h, if none does. Not on the way of a request.
 * Without it, spawn_command does so itself. 0 or -errno.
 */
int spawn_prepare(void);

/* blob is the memfd of the request. All descriptors are the caller's. 0 or -errno. */
int spawn_command(const struct nest_spawn *spawn, int blob, struct spawn_result *ret_result);

/* Is it the one that waits? */
bool spawn_waits_for(pid_t pid);
/* A child was reaped: was it that? */
bool spawn_on_reaped(pid_t pid);

/* Removes the group of a command that has ended, perhaps only with those of the next ones. */
void spawn_remove_group(uint64_t number);
