/*
 * The process that becomes a command. It is forked ahead of need, already in the cgroup and under
 * the system call filter of the command to come, and waits in nest-init's name, out of the
 * sandbox's reach, until it is told what to be: that keeps the two dearest steps off the way.
 */
#pragma once

#include <stdint.h>

#include "sandboxd/init/wire.h"

/* What comes with the order, a struct nest_spawn whose fields were checked. */
enum exec_fd {
    EXEC_FD_BLOB,
    EXEC_FD_STDIN, /* with NEST_TERMINAL, all three are the terminal */
    EXEC_FD_STDOUT,
    EXEC_FD_STDERR,
    EXEC_FD_STATUS, /* takes a struct exec_failure, or just ends with the exec */
    EXEC_FD_COUNT
};

struct exec_failure {
    int32_t error; /* negative errno */
    uint32_t step; /* enum nest_step */
};

/* In nest-init: takes what commands will get, the filter and limits. 0 or -errno. */
int exec_init(void);

/* In the child: waits for the order and carries it out. */
_Noreturn void exec_wait(int socket);
