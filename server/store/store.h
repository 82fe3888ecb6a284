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
#include "server/util/space.h"
#include "server/util/status.h"

struct store;
struct store_batch;

/*
 * directory: made if missing. Refuses a database in which acknowledged, synced writes are damaged
 * or missing (-EUCLEAN); half a record at the end of its log, which a killed process may leave
 * behind, is dropped. -EBUSY: another process has it open. -ENOSPC, -EIO and others: see err.
 */
int store_open(const char *directory, struct store **ret_store, struct err *err);

#define STORE_HASH_SIZE 32
#define STORE_ENTRY_INDEXES 4 /* of one entry */

/*
 * A chain of entries beside what the keys hold. A batch carries entries; the writer numbers them in
 * the order in which it writes, from 1 on without a gap, and each is sealed with the hash of the
 * one before it, so that none can be changed or taken away unseen.
 */
struct store_chain {
    /*
     * Types of keys, such as "s": a batch that changes one of them and carries no entry is refused.
     * Ends in NULL.
     */
    const char *const *covered;
    /*
     * Appends what is kept of an entry to ret_value, and says its hash. Runs on the writer's
     * thread; what it made of a write that failed is thrown away, and its number used again.
     */
    void (*seal)(void *arg, uint64_t sequence, const uint8_t previous[STORE_HASH_SIZE],
                 struct bytes body, struct buf *ret_value, uint8_t ret_hash[STORE_HASH_SIZE]);
    /* Entries up to this one are written. On the writer's thread; must not commit. */
    void (*grown)(void *arg, uint64_t sequence);
    void *arg;
};

struct store_options {
    const char *directory;
    const struct store_chain *chain; /* copied; NULL: entries are dropped, and none is needed */
    struct space *space; /* gives way when a write finds no room; may be NULL; outlives the store */
    /*
     * What is damaged is copied, and then opened with all that comes before the damage, instead of
     * -EUCLEAN. store_warning says so.
     */
    bool accept_loss;
};

int store_open_with(const struct store_options *options, struct store **ret_store, struct err *err);
/* What was lost when it was opened, for the operator; empty: nothing. Lives as long as the store.
 */
const char *store_warning(const struct store *store);
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
 * and value are valid during the visit, which must not use the store: what it holds up may be what
 * a commit waits for. Returns 0, also when ended early, or -EIO.
 */
int store_scan(struct store *store, struct bytes prefix, struct bytes start, enum store_order order,
               store_scan_fn *visit, void *arg);

/* Room for an entry's number in a key: 16 hexadecimal digits. */
#define STORE_SEQUENCE_SIZE 17
void store_sequence_text(uint64_t sequence, char ret_text[STORE_SEQUENCE_SIZE]);
/* Appends what is kept of an entry. Returns 0, -ENOENT, or -EIO. */
int store_entry(struct store *store, uint64_t sequence, struct buf *ret_value,
                uint8_t ret_hash[STORE_HASH_SIZE]);
/* The number of the last entry that is written; 0: there is none. */
uint64_t store_last_entry(const struct store *store);

/*
 * Makes a directory that store_open can open, with everything that was committed before; its files
 * may be links to those of the database. It must not exist.
 */
int store_checkpoint(struct store *store, const char *directory, struct err *err);

struct store_batch *store_batch_new(void);
void store_batch_free(struct store_batch *batch);
/* Keys and values are copied. */
void store_batch_put(struct store_batch *batch, struct bytes key, struct bytes value);
void store_batch_delete(struct store_batch *batch, struct bytes key);
/*
 * An entry of the chain. indexes: at most STORE_ENTRY_INDEXES prefixes of keys, such as
 * "ea/key_…": under each of them, with the entry's number behind, an empty value is put.
 */
void store_batch_entry(struct store_batch *batch, struct bytes body, const char *const *indexes,
                       size_t index_count);

enum store_sync { STORE_UNSYNCED, STORE_SYNCED };

/*
 * Applies the batch as a whole, blocks until it is written (and, if asked, on disk), and frees it.
 * Returns 0; -EPERM for a change that the chain must know of and the batch has no entry for; or
 * -ENOSPC or -EIO: then nothing of it is there once the store has healed; before
 * that, or when the process dies meanwhile, all of it may be.
 *
 * A write that fails is tried again at once on a database that was opened anew. When that is of no
 * use, nothing is written until it is: every commit fails, reads are answered, and the store looks
 * by itself whether there is room, or the disk works, again.
 */
int store_commit(struct store *store, struct store_batch *batch, enum store_sync sync);

/* OK; or UNAVAILABLE DISK_FULL, STORE_FAILED, retryable: why nothing can be written. */
struct status store_writable(struct store *store);

/* What store_writable would say has become another. Must not commit, and not call store_watch. */
typedef void store_watch_fn(void *arg, const struct status *writable);

/*
 * Calls changed at once and then at each change, from the store's own thread. NULL ends that: it is
 * not called any more when this returns.
 */
void store_watch(struct store *store, store_watch_fn *changed, void *arg);
