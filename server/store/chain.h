/*
 * The writer's end of the chain: numbers and seals the entries of a group. What stands under an
 * entry's key is its hash and then what `seal` made of it. Of the writer's thread alone, but for
 * chain_last.
 */
#pragma once

#include <rocksdb/c.h>
#include <stdatomic.h>

#include "server/store/batch.h"
#include "server/store/store.h"

struct chain {
    struct store_chain hooks; /* seal is NULL: there is no chain */
    _Atomic uint64_t last;    /* that is written */
    uint8_t last_hash[STORE_HASH_SIZE];
    /* Of the group under way. */
    struct store_batch sealed;
    uint64_t next;
    uint8_t next_hash[STORE_HASH_SIZE];
};

/* Looks for the last entry. hooks may be NULL. Returns 0 or -EIO. */
int chain_init(struct chain *chain, const struct store_chain *hooks, rocksdb_t *db,
               const rocksdb_readoptions_t *options);
void chain_done(struct chain *chain);

/* Whether the batch changes what the chain covers without an entry. From any thread. */
bool chain_is_bypassed(const struct chain *chain, const struct store_batch *batch);

/* Seals a batch's entries behind those that were sealed since chain_clear. */
void chain_seal(struct chain *chain, const struct store_batch *batch);
/* They are written. */
void chain_advance(struct chain *chain);
/* They are not, or no more needed: the next one to be sealed follows the last that is written. */
void chain_clear(struct chain *chain);
