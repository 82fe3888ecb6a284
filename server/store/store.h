/*
 * The database: ordered keys and values, atomic batches. RocksDB stands behind it and is seen by
 * this folder only; a cluster's store would be attached here.
 *
 * Every function may be called from any thread. One writer thread joins the batches of concurrent
 * callers into one write and one sync of the log.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "server/util/buf.h"
#include "server/util/bytes.h"
#include "server/util/err.h"

struct store;
struct store_batch;

/*
 * directory: made if missing. Refuses a database in which acknowledged, synced writes are damaged
 * or missing (-EUCLEAN); half a record at the end of its log, which a killed process may leave
 * behind, is dropped. -EBUSY: another process has it open. -ENOSPC, -EIO and others: see err.
 */
int store_open(const char *directory, struct store **ret_store, struct err *err);
/* Waits for what is queued. No other call may be under way or follow. */
void store_close(struct store *store);

/* Appends the value. Returns 0, -ENOENT, or -EIO. */
int store_get(struct store *store, struct bytes key, struct buf *ret_value);

/* Called for each entry of a scan; false ends the scan. */
typedef bool store_scan_fn(void *arg, struct bytes key, struct bytes value);

enum store_order { STORE_ASCENDING, STORE_DESCENDING };

/*
 * Visits the entries whose key begins with prefix, from start on (inclusive; an empty start is the
 * first of the order; a start before or behind the prefix's keys is fine), over one snapshot. key
 * and value are valid during the visit, which may itself read and commit. Returns 0, also when
 * ended early, or -EIO.
 */
int store_scan(struct store *store, struct bytes prefix, struct bytes start, enum store_order order,
               store_scan_fn *visit, void *arg);

struct store_batch *store_batch_new(void);
void store_batch_free(struct store_batch *batch);
/* Keys and values are copied. */
void store_batch_put(struct store_batch *batch, struct bytes key, struct bytes value);
void store_batch_delete(struct store_batch *batch, struct bytes key);

enum store_sync { STORE_UNSYNCED, STORE_SYNCED };

/*
 * Applies the batch as a whole, blocks until it is written (and, if asked, on disk), and frees it.
 * Returns 0 or -EIO; after the first failed write every later one fails, until a restart.
 */
int store_commit(struct store *store, struct store_batch *batch, enum store_sync sync);
