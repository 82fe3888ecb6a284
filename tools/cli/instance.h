/*
 * The one `crownest up` of a run directory: who holds the lock on RUN/up.lock. The kernel frees the
 * lock when its holder ends, however that happens, so there are no stale ones.
 */
#pragma once

#include <sys/types.h>

#include "server/util/err.h"

/*
 * Takes the lock for the life of the process; a child made by fork does not have it. -EBUSY when
 * another process holds it.
 */
int instance_lock(const char *run_dir, struct err *ret_err);

/* Finds who holds the lock. *ret_pid is 0 when nobody does. 0, or -errno. */
int instance_find(const char *run_dir, pid_t *ret_pid);

/*
 * Finds it and opens a pidfd of it, which the caller closes. -ENOENT when nobody holds the lock,
 * -ESRCH when its holder is ending, or another -errno.
 */
int instance_open(const char *run_dir, pid_t *ret_pid, int *ret_pidfd);
