/*
 * The one thread that writes. Callers hand it their batches and wait; whatever has come in while a
 * write was under way makes up the next one, so that one sync of the log serves them all. The
 * queue's places are bounded, and so are the bytes that are joined.
 *
 * After a failed write the same thread opens the database again. Of the group that failed, all or
 * nothing may then be found in RocksDB's log. So it either is written once more, and its callers
 * never hear of the failure; or they are told that it failed, and what was there before is put back
 * before anything else is written.
 */
#pragma once

#include <stdbool.h>

#include "server/store/batch.h"
#include "server/store/database.h"
#include "server/store/store.h"

struct writer;

/*
 * Starts the thread; database and space, which may be NULL, stay the caller's; chain may be NULL,
 * too. 0 or -errno.
 */
int writer_new(struct database *database, struct space *space, const struct store_chain *chain,
               struct writer **ret_writer);
/* Waits for what is queued, and ends the thread. No commit may be under way or follow. */
void writer_free(struct writer *writer);
/* As store_commit, but the batch stays the caller's. */
int writer_commit(struct writer *writer, const struct store_batch *batch, bool sync);
uint64_t writer_last_entry(const struct writer *writer);
/* As store_writable and store_watch. */
struct status writer_condition(struct writer *writer);
void writer_watch(struct writer *writer, store_watch_fn *changed, void *arg);
