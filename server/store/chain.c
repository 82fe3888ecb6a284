#include "server/store/chain.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "server/util/failpoint.h"

#define TYPE "e/" /* of the entries' keys; see schema.h */

void store_sequence_text(uint64_t sequence, char ret_text[STORE_SEQUENCE_SIZE])
{
    (void)snprintf(ret_text, STORE_SEQUENCE_SIZE, "%016" PRIx64, sequence);
}

static int read_last(struct chain *chain, rocksdb_iterator_t *iterator)
{
    uint64_t sequence;
    size_t size;
    char text[STORE_SEQUENCE_SIZE + sizeof(TYPE)];

    /* Behind every digit. */
    rocksdb_iter_seek_for_prev(iterator, TYPE "g", sizeof(TYPE));
    if (!rocksdb_iter_valid(iterator))
        return 0;
    const char *key = rocksdb_iter_key(iterator, &size);

    if (size < sizeof(TYPE) || memcmp(key, TYPE, sizeof(TYPE) - 1) != 0)
        return 0;
    if (size >= sizeof(text))
        return -EIO;
    memcpy(text, key, size);
    text[size] = '\0';
    const char *value = rocksdb_iter_value(iterator, &size);

    if (sscanf(text, TYPE "%16" SCNx64, &sequence) != 1 || size < STORE_HASH_SIZE)
        return -EIO;
    atomic_store(&chain->last, sequence);
    memcpy(chain->last_hash, value, STORE_HASH_SIZE);
    return 0;
}

int chain_init(struct chain *chain, const struct store_chain *hooks, rocksdb_t *db,
               const rocksdb_readoptions_t *options)
{
    char *error = NULL;

    if (!hooks)
        return 0;
    chain->hooks = *hooks;
    rocksdb_iterator_t *iterator = rocksdb_create_iterator(db, options);
    int result = read_last(chain, iterator);

    rocksdb_iter_get_error(iterator, &error);
    rocksdb_iter_destroy(iterator);
    if (error) {
        rocksdb_free(error);
        result = -EIO;
    }
    chain_clear(chain);
    return result;
}

void chain_done(struct chain *chain)
{
    buf_done(&chain->sealed.ops);
}

static bool is_covered(const struct chain *chain, const char *key, size_t size)
{
    for (const char *const *type = chain->hooks.covered; *type; type++) {
        size_t length = strlen(*type);

        if (size > length && key[length] == '/' && memcmp(key, *type, length) == 0)
            return true;
    }
    return false;
}

bool chain_is_bypassed(const struct chain *chain, const struct store_batch *batch)
{
    struct batch_op op;
    const char *key;

    if (!chain->hooks.seal || batch->entries.size > 0)
        return false;
    for (size_t at = 0; batch_next(batch, &at, &op, &key);) {
        if (is_covered(chain, key, op.key_size))
            return true;
    }
    return false;
}

static void seal_one(struct chain *chain, const struct batch_entry *entry, const char *body)
{
    uint8_t hash[STORE_HASH_SIZE] = {0};
    char number[STORE_SEQUENCE_SIZE];
    char key[sizeof(TYPE) + STORE_SEQUENCE_SIZE];
    struct buf value = {0};
    const char *index = body + entry->body_size;
    const char *end = index + entry->indexes_size;

    store_sequence_text(++chain->next, number);
    buf_append(&value, hash, sizeof(hash));
    chain->hooks.seal(chain->hooks.arg, chain->next, chain->next_hash,
                      bytes_of(body, entry->body_size), &value, hash);
    memcpy(value.data, hash, sizeof(hash));
    memcpy(chain->next_hash, hash, sizeof(hash));
    (void)snprintf(key, sizeof(key), TYPE "%s", number);
    store_batch_put(&chain->sealed, bytes_of_string(key), buf_bytes(&value));
    for (; index < end; index += strlen(index) + 1) {
        struct buf path = {0};

        buf_append(&path, index, strlen(index));
        buf_append(&path, "/", 1);
        buf_append(&path, number, STORE_SEQUENCE_SIZE - 1);
        store_batch_put(&chain->sealed, buf_bytes(&path), bytes_of(NULL, 0));
        buf_done(&path);
    }
    buf_done(&value);
}

void chain_seal(struct chain *chain, const struct store_batch *batch)
{
    struct batch_entry entry;
    const char *body;

    if (!chain->hooks.seal)
        return;
    for (size_t at = 0; batch_next_entry(batch, &at, &entry, &body);) {
        if (!FAILPOINT_SKIP("broken.entry"))
            seal_one(chain, &entry, body);
    }
}

void chain_clear(struct chain *chain)
{
    chain->sealed.ops.size = 0;
    chain->next = atomic_load(&chain->last);
    memcpy(chain->next_hash, chain->last_hash, STORE_HASH_SIZE);
}

void chain_advance(struct chain *chain)
{
    if (chain->next > atomic_load(&chain->last)) {
        memcpy(chain->last_hash, chain->next_hash, STORE_HASH_SIZE);
        atomic_store(&chain->last, chain->next);
        if (chain->hooks.grown)
            chain->hooks.grown(chain->hooks.arg, chain->next);
    }
    chain_clear(chain);
}
