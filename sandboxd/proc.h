/* /proc of a jail: its own instance, other users' processes hidden, dangerous files covered. */
#pragma once

#include "sandboxd/err.h"

/* Child, working directory = the new root, /proc of the host still in sight below the old one. */
int proc_mount(struct sd_err *err);
