/*
 * The one thread that writes. Callers hand it their batches and wait; whatever has come in while a
 * write was under way makes up the next one, so that one sync of the log serves them all. The
 * queue's places are bounded, and so are the bytes that are joined. The first failed write is
 * final: what came before it is on disk, nothing after it is attempted.
 */
#pragma once

#include <rocksdb/c.h>
#include <stdbool.h>

#include "server/store/batch.h"

struct writer;

/*
 * Starts the thread; db and mark_fd (of mark.h, which it keeps up to date) stay the caller's.
 * Returns 0 or -errno.
 */
int writer_new(rocksdb_t *db, int mark_fd, struct writer **ret_writer);
/* Waits for what is queued, and ends the thread. No commit may be under way or follow. */
void writer_free(struct writer *writer);
/* Blocks until the batch is written; the batch stays the caller's. Returns 0 or -EIO. */
int writer_commit(struct writer *writer, const struct store_batch *batch, bool sync);
