/*
 * Content-addressed files: a blob's name is the SHA-256 of its bytes, so one content is kept once,
 * and a name that exists is whole. Every function may be called from any thread.
 */
#pragma once

#include <stdbool.h>
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
 * On success the blob is pinned: blob_unpin must follow, once a record wants it, or none will.
 */
int blob_put(struct blob_store *store, int from_fd, uint64_t limit,
             char ret_digest[BLOB_DIGEST_SIZE], uint64_t *ret_size, struct err *err);

/* From now on it is there for as long as it is wanted. */
void blob_unpin(struct blob_store *store, const char *digest);

/* Whether a record wants the blob; asked while nobody can begin to. */
typedef bool blob_wanted_fn(void *arg, const char *digest);

/* Removes a blob unless it is pinned or wanted; returns whether it is gone. */
bool blob_remove(struct blob_store *store, const char *digest, blob_wanted_fn *wanted, void *arg);

/* Visits all of them until visit returns false; which may remove the one that it visits. */
typedef bool blob_visit_fn(void *arg, const char *digest);
void blob_each(struct blob_store *store, blob_visit_fn *visit, void *arg);

/* Opens a blob for reading; returns the descriptor, -ENOENT, or -EINVAL for what is no digest. */
int blob_open(struct blob_store *store, const char *digest);
