/*
 * What a batch is inside: its operations one after the other, as they were added. The writer turns
 * the batches of a group into one of RocksDB's, which cannot be joined through its C interface.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "server/util/buf.h"

enum batch_kind { BATCH_PUT, BATCH_DELETE };

/* Before the key's bytes and the value's. */
struct batch_op {
    enum batch_kind kind;
    size_t key_size;
    size_t value_size;
};

struct store_batch {
    struct buf ops;
};

/* Takes the operation at *at and moves on; false at the end. Its value stands behind its key. */
static inline bool batch_next(const struct store_batch *batch, size_t *at, struct batch_op *ret_op,
                              const char **ret_key)
{
    if (*at >= batch->ops.size)
        return false;
    memcpy(ret_op, batch->ops.data + *at, sizeof(*ret_op));
    *ret_key = (const char *)batch->ops.data + *at + sizeof(*ret_op);
    *at += sizeof(*ret_op) + ret_op->key_size + ret_op->value_size;
    return true;
}
