/*
 * Template images: DIR/<hex digest>.erofs, mounted once in sandboxd's own mount namespace when a
 * sandbox first asks for it, and kept. Not thread-safe.
 */
#pragma once

#include <limits.h>
#include <stdint.h>

#include "sandboxd/err.h"
#include "sandboxd/wire.h"

#define IMAGE_MAX_MOUNTED 64

/* templates: where images are; mounts: an own directory for mount points. Strings stay the
 * caller's. */
int image_init(const char *templates, const char *mounts, struct sd_err *err);

/* Path of the mounted root of the image, for use in this mount namespace or a copy of it. */
int image_get(const uint8_t digest[SD_DIGEST_SIZE], char ret_path[PATH_MAX], struct sd_err *err);
