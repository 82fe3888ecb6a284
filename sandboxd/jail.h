/*
 * Builds one jail: an ordered table of steps in the builder, a short-lived child of sandboxd, and
 * one in the process that becomes nest-init. Whatever fails, the typed error names the step; the
 * caller removes what was made by cgroup_kill and cgroup_remove, since mounts and namespaces go
 * with the processes.
 */
#pragma once

#include <sys/types.h>

#include "sandboxd/err.h"
#include "sandboxd/policy.h"
#include "sandboxd/wire.h"

/* What the jail is made of; strings and descriptors stay the caller's. */
struct jail_spec {
    const struct sd_policy *policy;
    char id[SD_ID_SIZE];
    struct sd_limits limits;
    uid_t base;             /* first id of the sandbox's range */
    const char *image_root; /* where the template is mounted */
    const char *stage;      /* directory to assemble in, see mounts.h */
    int init_image;         /* sealed memfd with nest-init */
    int seccomp_filter;     /* sealed memfd, see seccomp.h */
    /*
     * NULL, or called before each step in the process that takes it, for tests and benchmarks; a
     * negative errno is the step's failure. Async-signal-safe.
     */
    int (*before_step)(const char *name);
};

/* What the caller owns afterwards. */
struct jail {
    pid_t pid; /* of nest-init, a child of the builder's parent (a subreaper) */
    int pidfd;
    int control; /* the server's connection to nest-init, see control.h */
};

/* In the builder, which must end soon after. nest-init runs when it returns 0. */
int jail_build(const struct jail_spec *spec, struct jail *ret_jail, struct sd_err *err);
