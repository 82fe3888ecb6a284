/* The network namespace of a jail: lo, and nothing else. */
#pragma once

#include "sandboxd/err.h"

/* Child: brings lo up. */
int net_loopback_up(struct sd_err *err);
