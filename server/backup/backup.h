/*
 * Copies of everything in the data directory as it was at one moment, made while the service works.
 *
 * The moment is that of the database's checkpoint. Files beside the database are only ever made
 * whole, appended to (a log's headers are written over, too, and a log that was cut anywhere is
 * opened as after a crash), or removed, and are there before a record speaks of them. So they are
 * linked into the copy before the checkpoint, for what is removed meanwhile, and again after it,
 * for what was made meanwhile: a copy may have more than its records know of, and never less.
 *
 * There is one copy at a time, in `backup` in the data directory. Nothing that a client says names
 * a file here.
 */
#pragma once

#include <stdint.h>

#include "server/store/store.h"
#include "server/util/err.h"

struct backups;
struct backup;

/* data: the data directory. What an earlier process left of a copy is removed. */
int backups_new(struct store *store, const char *data, struct backups **ret_backups,
                struct err *err);
/* Waits until the last copy is removed. No copy may be in use. NULL is fine. */
void backups_free(struct backups *backups);

/*
 * Makes the copy; blocks for as long as it takes to link every file, and to remove the one before.
 * -EBUSY: there is one in use.
 */
int backup_begin(struct backups *backups, struct backup **ret_backup, struct err *err);
/* Removes the copy, in the background. */
void backup_end(struct backup *backup);

struct backup_file {
    const char *path; /* relative to the data directory; valid until the next call */
    int fd;           /* for reading; the caller's */
    uint64_t size;    /* what belongs to the copy, should the file grow */
};

/* The next file, in no order of meaning. Returns 1, 0 when there is none, or -errno. */
int backup_next(struct backup *backup, struct backup_file *ret_file);
