/* Paths that clients name inside a sandbox. Checked as text here; resolved inside the sandbox only.
 */
#pragma once

#include <stdbool.h>

#include "server/util/status.h"

#define PATH_WORKSPACE "/workspace"

/*
 * Refuses the empty path, `..` as a component, and more than 4095 bytes: INVALID_ARGUMENT with the
 * reason at the field.
 */
struct status path_check(const char *path, const char *field, const char *reason);

/* Whether it holds a wildcard of fnmatch: `*`, `?`. */
bool path_is_glob(const char *path);

/* What follows the last `/`. */
const char *path_base(const char *path);
