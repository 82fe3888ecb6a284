/*
 * /dev of a jail: a read-only tmpfs of its own with device nodes that nobody inside owns. It is not
 * shared between sandboxes, since locks and watches on a shared inode would join them.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "sandboxd/err.h"

/* Builder, working directory = stage: mounts dev and dev/pts onto the root. */
int dev_mount(uid_t base, uint32_t max_ptys, struct sd_err *err);
