/* The uid and gid range of a sandbox: written by the builder, for a child in a new user namespace.
 */
#pragma once

#include <sys/types.h>

#include "sandboxd/err.h"

/* Maps ids [0, 65536) inside to [base, base + 65536) outside. Host id 0 is never in that range. */
int userns_map(pid_t child, uid_t base, struct sd_err *err);

/* A descriptor of the child's user namespace, for idmapped mounts. */
int userns_open(pid_t child, int *ret_fd, struct sd_err *err);

/* In the child: becomes its root and drops the groups it came with. */
int userns_become_root(struct sd_err *err);
