/* Starts the first process of a command. */
#pragma once

#include <sys/types.h>

#include "sandboxd/init/wire.h"

struct spawn_result {
    pid_t pid;
    int status;   /* end of file = exec went well, else a struct spawn_failure can be read */
    int cgroup;   /* directory of the command's group */
    int pipes[3]; /* our ends: stdin's write end, stdout's and stderr's read ends */
};

struct spawn_failure {
    int32_t error; /* negative errno */
    uint32_t step; /* enum nest_step */
};

/* Reads the filter that commands run under. */
int spawn_init(void);

/*
 * Makes the group, the pipes and the process. blob is the memfd of the request. All descriptors are
 * the caller's. 0 or -errno, with nothing left behind.
 */
int spawn_command(const struct nest_spawn *spawn, int blob, uint64_t number,
                  struct spawn_result *ret_result);

/* Removes the group of a command that has ended. */
void spawn_remove_group(uint64_t number);
