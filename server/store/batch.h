/*
 * What a batch is inside: its operations one after the other, as they were added. The writer turns
 * the batches of a group into one of RocksDB's, which cannot be joined through its C interface.
 */
#pragma once

#include <stddef.h>

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
