/* A copy of a damaged database, for whoever wants to look into it. */
#pragma once

#include <limits.h>

#include "server/util/err.h"

/*
 * Copies the directory beside itself, as `<path>.damaged-<number>`, and syncs it; tables, which are
 * never changed, are linked. 0 or -errno.
 */
int damage_keep(const char *path, char ret_copy[PATH_MAX], struct err *err);
