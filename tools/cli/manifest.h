/*
 * What a backup holds, as a text beside it: a first line with the format, a line for each file,
 * and a last one without which it is not whole.
 *
 *     crownest-backup 1
 *     SHA-256 SIZE PATH
 *     end FILES BYTES
 */
#pragma once

#include <stdint.h>
#include <stdio.h>

#include "server/util/err.h"
#include "tools/cli/tree.h"

/* Names in the directory of a backup. */
#define MANIFEST_NAME "manifest"
#define MANIFEST_FILES "data"

struct manifest_entry {
    char digest[TREE_DIGEST_SIZE];
    uint64_t size;
    char path[TREE_PATH_MAX];
};

struct manifest_sum {
    uint64_t files;
    uint64_t bytes;
};

void manifest_begin(FILE *out);
void manifest_add(FILE *out, const struct manifest_entry *entry, struct manifest_sum *sum);
void manifest_end(FILE *out, const struct manifest_sum *sum);

/* Called with each file; anything but 0 ends the reading and is returned. */
typedef int manifest_visit_fn(void *arg, const struct manifest_entry *entry, struct err *ret_err);

/* -EUCLEAN: it is not of this format, or not whole. */
int manifest_read(FILE *in, manifest_visit_fn *visit, void *arg, struct manifest_sum *ret_sum,
                  struct err *ret_err);
