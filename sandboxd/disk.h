/*
 * The block devices behind the directories that sandboxes read from and write to: what io limits
 * name. A directory whose file system has no device of its own, such as a tmpfs, has none.
 */
#pragma once

#include <stddef.h>

#include "sandboxd/err.h"

#define DISK_MAX 4
#define DISK_NAME_SIZE 24

/* Notes the whole disk below path, once however often it is named. At start. */
int disk_add(const char *path, struct sd_err *err);

/* "major:minor" of each; NULL after the last. */
const char *disk_at(size_t index);
