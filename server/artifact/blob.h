/*
 * Content-addressed files: a blob's name is the SHA-256 of its bytes, so one content is kept once,
 * and a name that exists is whole. Every function may be called from any thread.
 */
#pragma once

#include <stdint.h>

#include "server/util/bytes.h"
#include "server/util/err.h"

#define BLOB_DIGEST_SIZE 72 /* "sha256:" and 64 hexadecimal digits, NUL */

struct blob_store;

/* directory: made if missing; what an earlier crash left unfinished in it is removed. */
int blob_store_open(const char *directory, struct blob_store **ret_store, struct err *err);
void blob_store_close(struct blob_store *store);

/*
 * Copies from a descriptor until its end, syncs, and then gives the blob its name. Counts the bytes
 * actually read: a file that grows ends at limit with -EFBIG. Nothing stays behind on failure.
 */
int blob_put(struct blob_store *store, int from_fd, uint64_t limit,
             char ret_digest[BLOB_DIGEST_SIZE], uint64_t *ret_size, struct err *err);

/* Opens a blob for reading; returns the descriptor, -ENOENT, or -EINVAL for what is no digest. */
int blob_open(struct blob_store *store, const char *digest);
