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

/* An entry of the chain: before its body, and its indexes, each with a NUL. */
struct batch_entry {
    size_t body_size;
    size_t indexes_size;
};

struct store_batch {
    struct buf ops;
    struct buf entries;
};

/* Takes the entry at *at and moves on; false at the end. Its indexes stand behind its body. */
static inline bool batch_next_entry(const struct store_batch *batch, size_t *at,
                                    struct batch_entry *ret_entry, const char **ret_body)
{
    if (*at >= batch->entries.size)
        return false;
    memcpy(ret_entry, batch->entries.data + *at, sizeof(*ret_entry));
    *ret_body = (const char *)batch->entries.data + *at + sizeof(*ret_entry);
    *at += sizeof(*ret_entry) + ret_entry->body_size + ret_entry->indexes_size;
    return true;
}

static inline size_t batch_size(const struct store_batch *batch)
{
    return batch->ops.size + batch->entries.size;
}

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
