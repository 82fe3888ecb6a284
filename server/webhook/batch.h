/* The entries of one delivery. */
#pragma once

#include "server/audit/cursor.h"
#include "server/util/buf.h"

struct batch {
    struct buf body; /* JSON */
    unsigned count;
    uint64_t first; /* of its entries */
    uint64_t last;
    uint64_t looked; /* with a count of 0: nothing fits up to here */
};

/*
 * Reads the entries after `after` that fit, as many as a delivery may hold; with an `upto` that is
 * not 0 those up to it, so that a delivery that is made again is the same. ret_batch is zeroed
 * before, and done afterwards in any case. Returns 0, or -EIO or -EUCLEAN when one cannot be read.
 */
int batch_read(struct store *store, const struct audit_filter *filter, const char *webhook_id,
               uint64_t after, uint64_t upto, struct batch *ret_batch);
void batch_done(struct batch *batch);
