/*
 * Checks an export of the audit, line by line, without a service: that each line's hash is that of
 * its text, that each holds the hash of the one before, that none is missing, and that checkpoints
 * are signed.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "server/audit/signer.h"

#define AUDIT_KEYS_MAX 16
#define AUDIT_HASH_SIZE 32

struct audit_check {
    /* Checkpoints must be signed by one of these; none: by the one that the file names first. */
    uint8_t keys[AUDIT_KEYS_MAX][SIGNER_KEY_SIZE];
    size_t key_count;
    bool pinned; /* the keys are the caller's */

    uint64_t first; /* entry of the file; 0: there is none */
    uint64_t last;
    uint64_t last_signed; /* up to here a signature vouches for everything; 0: for nothing */
    uint64_t checkpoints;
    uint64_t line;
    uint8_t previous[AUDIT_HASH_SIZE];
    char wrong[256]; /* what is wrong with the first bad entry */
};

/* "64 hexadecimal digits" of a key. Returns 0 or -EINVAL. */
int audit_check_add_key(struct audit_check *check, const char *hex);
/* The next line, with its newline. Returns 0, or -EBADMSG with `wrong` filled. */
int audit_check_line(struct audit_check *check, const char *line, size_t size);
/* Reads to the end. Returns 0, -EBADMSG, or -errno of the reading. */
int audit_check_file(struct audit_check *check, FILE *in);
