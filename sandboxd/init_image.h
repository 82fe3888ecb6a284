/* nest-init's binary, which is part of sandboxd's, as a sealed memfd to execute. */
#pragma once

#include "sandboxd/err.h"

/*
 * Sealed, so that nothing that runs from it can change it for the next sandbox; and not a file that
 * a path leads to.
 */
int init_image_open(int *ret_fd, struct sd_err *err);
