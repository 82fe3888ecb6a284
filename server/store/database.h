/*
 * RocksDB as it is opened, and opened again: an error of a write stays with RocksDB's object for
 * ever, so to go on writing there must be another object.
 *
 * db may be read between database_use and database_leave, on any thread but not nested. The
 * writer's thread uses it without, for that thread alone replaces db.
 */
#pragma once

#include <limits.h>
#include <pthread.h>
#include <rocksdb/c.h>
#include <stdbool.h>
#include <stdint.h>

#include "server/util/err.h"

struct database {
    pthread_rwlock_t lock; /* those who read keep the writer from replacing db */
    rocksdb_t *db;         /* NULL: it could not be opened again, not even for reading */
    rocksdb_options_t *options;
    rocksdb_cache_t *cache;
    rocksdb_readoptions_t *read_options;
    int mark_fd;
    uint64_t mark; /* sequence number of the last write that was acknowledged as synced */
    char path[PATH_MAX];
    char warning[320]; /* what was lost, or empty */
};

/* As store_open_with. What was opened before a failure is closed by database_close in any case. */
int database_open(struct database *database, const char *directory, bool accept_loss,
                  struct err *err);
void database_close(struct database *database);

/* Keeps db as it is. Returns 0, or -EIO when it is NULL; then nothing is to be left. */
int database_use(struct database *database);
void database_leave(struct database *database);

/* Whether the disk has room for what opening writes. */
bool database_has_room(const struct database *database);
/* Waits until nobody else uses db; nobody does until database_leave. */
void database_keep_out(struct database *database);
/*
 * Closes db and opens it again, with all that was acknowledged, while others are kept out. On
 * failure it is open for reading if that was possible.
 */
int database_reopen(struct database *database, struct err *err);

/* As store_checkpoint. */
int database_checkpoint(struct database *database, const char *directory, struct err *err);
