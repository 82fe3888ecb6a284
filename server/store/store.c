#include "server/store/store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/store/batch.h"
#include "server/store/writer.h"
#include "server/util/cleanup.h"

struct store {
    struct database database;
    struct writer *writer;
};

int store_open_with(const struct store_options *options, struct store **ret_store, struct err *err)
{
    struct store *store = calloc(1, sizeof(*store));

    if (!store)
        abort();
    int result = database_open(&store->database, options->directory, options->accept_loss, err);

    if (result == 0) {
        result = writer_new(&store->database, options->space, options->chain, &store->writer);
        if (result < 0)
            (void)err_set(err, -result, "cannot start the store's writer");
    }
    if (result < 0) {
        store_close(store);
        return result;
    }
    *ret_store = store;
    return 0;
}

int store_open(const char *directory, struct store **ret_store, struct err *err)
{
    return store_open_with(&(struct store_options){.directory = directory}, ret_store, err);
}

void store_close(struct store *store)
{
    if (!store)
        return;
    writer_free(store->writer);
    database_close(&store->database);
    free(store);
}

const char *store_warning(const struct store *store)
{
    return store->database.warning;
}

struct status store_writable(struct store *store)
{
    return writer_condition(store->writer);
}

void store_watch(struct store *store, store_watch_fn *changed, void *arg)
{
    writer_watch(store->writer, changed, arg);
}

static int get(struct database *database, struct bytes key, struct buf *ret_value)
{
    char *error = NULL;
    rocksdb_pinnableslice_t *slice = rocksdb_get_pinned(database->db, database->read_options,
                                                        (const char *)key.data, key.size, &error);

    if (error) {
        rocksdb_free(error);
        return -EIO;
    }
    if (!slice)
        return -ENOENT;
    size_t size;
    const char *value = rocksdb_pinnableslice_value(slice, &size);

    buf_append(ret_value, value, size);
    rocksdb_pinnableslice_destroy(slice);
    return 0;
}

int store_get(struct store *store, struct bytes key, struct buf *ret_value)
{
    int result;

    if (database_use(&store->database) < 0)
        return -EIO;
    result = get(&store->database, key, ret_value);
    database_leave(&store->database);
    return result;
}

/* Appends the first key behind all that begin with the prefix; false when there is none. */
static bool prefix_end(struct bytes prefix, struct buf *ret_end)
{
    while (prefix.size > 0 && prefix.data[prefix.size - 1] == 0xff)
        prefix.size--;
    if (prefix.size == 0)
        return false;
    buf_append(ret_end, prefix.data, prefix.size);
    ret_end->data[prefix.size - 1]++;
    return true;
}

static int compare(struct bytes a, struct bytes b)
{
    size_t size = a.size < b.size ? a.size : b.size;
    int order = size ? memcmp(a.data, b.data, size) : 0;

    return order ? order : (a.size > b.size) - (a.size < b.size);
}

static bool begins_with(struct bytes key, struct bytes prefix)
{
    return key.size >= prefix.size &&
           (prefix.size == 0 || memcmp(key.data, prefix.data, prefix.size) == 0);
}

static void seek(rocksdb_iterator_t *iterator, struct bytes prefix, struct bytes start,
                 enum store_order order)
{
    if (order == STORE_ASCENDING) {
        struct bytes from = compare(start, prefix) < 0 ? prefix : start;

        rocksdb_iter_seek(iterator, (const char *)from.data, from.size);
        return;
    }
    /* The upper bound holds here too: from a start behind it one comes to the last key. */
    if (start.size == 0)
        rocksdb_iter_seek_to_last(iterator);
    else
        rocksdb_iter_seek_for_prev(iterator, (const char *)start.data, start.size);
}

static int visit_all(rocksdb_iterator_t *iterator, struct bytes prefix, enum store_order order,
                     store_scan_fn *visit, void *arg)
{
    while (rocksdb_iter_valid(iterator)) {
        struct bytes key;
        struct bytes value;

        key.data = (const uint8_t *)rocksdb_iter_key(iterator, &key.size);
        value.data = (const uint8_t *)rocksdb_iter_value(iterator, &value.size);
        if (!begins_with(key, prefix) || !visit(arg, key, value))
            return 0;
        if (order == STORE_ASCENDING)
            rocksdb_iter_next(iterator);
        else
            rocksdb_iter_prev(iterator);
    }
    char *error = NULL;

    rocksdb_iter_get_error(iterator, &error);
    if (!error)
        return 0;
    rocksdb_free(error);
    return -EIO;
}

int store_scan(struct store *store, struct bytes prefix, struct bytes start, enum store_order order,
               store_scan_fn *visit, void *arg)
{
    cleanup_buf struct buf end = {0};

    if (database_use(&store->database) < 0)
        return -EIO;
    rocksdb_readoptions_t *options = rocksdb_readoptions_create();

    if (prefix_end(prefix, &end))
        rocksdb_readoptions_set_iterate_upper_bound(options, (const char *)end.data, end.size);
    rocksdb_iterator_t *iterator = rocksdb_create_iterator(store->database.db, options);

    seek(iterator, prefix, start, order);
    int result = visit_all(iterator, prefix, order, visit, arg);

    rocksdb_iter_destroy(iterator);
    rocksdb_readoptions_destroy(options);
    database_leave(&store->database);
    return result;
}

int store_checkpoint(struct store *store, const char *directory, struct err *err)
{
    if (database_use(&store->database) < 0)
        return err_set(err, EIO, "the database cannot be read");
    int result = database_checkpoint(&store->database, directory, err);

    database_leave(&store->database);
    return result;
}

struct store_batch *store_batch_new(void)
{
    struct store_batch *batch = calloc(1, sizeof(*batch));

    if (!batch)
        abort();
    return batch;
}

void store_batch_free(struct store_batch *batch)
{
    if (!batch)
        return;
    buf_done(&batch->ops);
    buf_done(&batch->entries);
    free(batch);
}

static void add_op(struct store_batch *batch, enum batch_kind kind, struct bytes key,
                   struct bytes value)
{
    struct batch_op op = {.kind = kind, .key_size = key.size, .value_size = value.size};

    buf_append(&batch->ops, &op, sizeof(op));
    buf_append(&batch->ops, key.data, key.size);
    buf_append(&batch->ops, value.data, value.size);
}

void store_batch_put(struct store_batch *batch, struct bytes key, struct bytes value)
{
    add_op(batch, BATCH_PUT, key, value);
}

void store_batch_delete(struct store_batch *batch, struct bytes key)
{
    add_op(batch, BATCH_DELETE, key, bytes_of(NULL, 0));
}

void store_batch_entry(struct store_batch *batch, struct bytes body, const char *const *indexes,
                       size_t index_count)
{
    struct batch_entry entry = {.body_size = body.size};

    for (size_t i = 0; i < index_count; i++)
        entry.indexes_size += strlen(indexes[i]) + 1;
    buf_append(&batch->entries, &entry, sizeof(entry));
    buf_append(&batch->entries, body.data, body.size);
    for (size_t i = 0; i < index_count; i++)
        buf_append(&batch->entries, indexes[i], strlen(indexes[i]) + 1);
}

int store_entry(struct store *store, uint64_t sequence, struct buf *ret_value,
                uint8_t ret_hash[STORE_HASH_SIZE])
{
    char number[STORE_SEQUENCE_SIZE];
    cleanup_buf struct buf value = {0};
    char key[2 + STORE_SEQUENCE_SIZE];

    store_sequence_text(sequence, number);
    (void)snprintf(key, sizeof(key), "e/%s", number);
    int result = store_get(store, bytes_of_string(key), &value);

    if (result < 0)
        return result;
    if (value.size < STORE_HASH_SIZE)
        return -EIO;
    memcpy(ret_hash, value.data, STORE_HASH_SIZE);
    buf_append(ret_value, value.data + STORE_HASH_SIZE, value.size - STORE_HASH_SIZE);
    return 0;
}

uint64_t store_last_entry(const struct store *store)
{
    return writer_last_entry(store->writer);
}

int store_commit(struct store *store, struct store_batch *batch, enum store_sync sync)
{
    int result = writer_commit(store->writer, batch, sync == STORE_SYNCED);

    store_batch_free(batch);
    return result;
}
