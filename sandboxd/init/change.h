/* Changes to the sandbox's tree, as its own user. In a worker only, like files.h. */
#pragma once

#include "sandboxd/init/wire.h"

/* Makes a directory; with NEST_MAKE_PARENTS also those above it, and one that is there is fine. */
int change_make_dir(const struct nest_file *file);

/* Gives a file or directory another name; what has that name stays, unless NEST_REPLACE. */
int change_move(const struct nest_move *move);

/*
 * Removes a file, a symlink (never what it points to), or an empty directory; with NEST_RECURSIVE
 * also a full one. One that is too large for the deadline is left half removed, and -ETIMEDOUT.
 */
int change_remove(const struct nest_file *file);
