/* How sandboxd starts nest-init: its descriptors, and the ids that both know. */
#pragma once

#include "sandboxd/init/wire.h"

enum nest_fd {
    NEST_FD_CONTROL = 3, /* where the connection to crownestd goes, see wire.h; no socket yet */
    NEST_FD_LISTENER,    /* where crownestd connects; listens, never blocks */
    NEST_FD_CGROUP,      /* directory of the sandbox's cgroup in the v2 tree */
    NEST_FD_SECCOMP,     /* sealed memfd: struct sock_filter array for commands */
    NEST_FD_COUNT
};

/*
 * Open files of nest-init: its hard limit. The soft one that it is started with is what each
 * process of a command gets for both. Whatever commands there are, a new peer can be accepted.
 */
#define NEST_INIT_FILES (NEST_MAX_COMMANDS * 8U + 512U)

/* Ids inside: of plain commands, and nest-init's own, which no command ever has. */
#define NEST_USER_ID 1000U
#define NEST_INIT_ID 65533U
