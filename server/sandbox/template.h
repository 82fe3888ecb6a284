/*
 * The templates of this host: a folder of images named by their digest, and symlinks that give some
 * of them a name. tools/template/build makes them; sandboxd mounts them by digest.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define TEMPLATE_NAME_SIZE 33
#define TEMPLATE_DIGEST_SIZE 72 /* "sha256:" and 64 hexadecimal digits, NUL */

struct template_info {
    char name[TEMPLATE_NAME_SIZE]; /* empty when it was found by its digest */
    char digest[TEMPLATE_DIGEST_SIZE];
    uint8_t hash[32];
    uint64_t size_bytes;
    uint64_t create_time_ms;
};

/* name: a name or a digest. Returns 0, -ENOENT, or -EINVAL for what can be neither. */
int template_find(const char *directory, const char *name, struct template_info *ret_info);

/* Visits those that have a name, in no order; false ends the walk. Returns 0 or a negative errno.
 */
int template_list(const char *directory, bool (*visit)(void *arg, const struct template_info *info),
                  void *arg);
