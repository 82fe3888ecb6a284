/* Paths that match a pattern: "*", "?" and "[…]" within components, no symlink followed. */
#pragma once

#include <stdint.h>

#include "sandboxd/init/wire.h"

/*
 * In a worker only. Writes a record with the absolute path of each match, in no order. -E2BIG when
 * there are too many components, entries looked at, or matches.
 */
int glob_write(const struct nest_file *file, int pipe, uint64_t *ret_count);
