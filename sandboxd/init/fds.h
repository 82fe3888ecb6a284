/* The descriptors with which nest-init is started. */
#pragma once

enum nest_fd {
    NEST_FD_CONTROL = 3, /* to crownestd, see wire.h */
    NEST_FD_CGROUP,      /* directory of the sandbox's cgroup in the v2 tree */
    NEST_FD_SECCOMP,     /* sealed memfd: struct sock_filter array for commands */
    NEST_FD_COUNT
};

/* nest-init's own id inside, which no command ever has. */
#define NEST_INIT_ID 65533
