#include "server/store/store.h"

#include <errno.h>
#include <limits.h>
#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/store/batch.h"
#include "server/store/mark.h"
#include "server/store/writer.h"

#define WRITE_BUFFER_BYTES (4U << 20)
#define WRITE_BUFFERS 3
#define BLOCK_CACHE_BYTES (32U << 20)
#define LOG_BYTES_UNFLUSHED (32U << 20)
#define BLOOM_BITS_PER_KEY 10
#define BACKGROUND_JOBS 2
#define INFO_LOG_BYTES (64U << 10)
#define INFO_LOG_FILES 2
#define INFO_LOG_FATAL 4 /* RocksDB's InfoLogLevel, which its C header does not name */

struct store {
    rocksdb_t *db;
    rocksdb_options_t *options;
    rocksdb_cache_t *cache;
    rocksdb_readoptions_t *read_options;
    struct writer *writer;
    int mark_fd;
    uint64_t mark; /* as it was before opening */
};

static rocksdb_block_based_table_options_t *table_options(rocksdb_cache_t *cache)
{
    rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();

    rocksdb_block_based_options_set_block_cache(table, cache);
    rocksdb_block_based_options_set_filter_policy(
        table, rocksdb_filterpolicy_create_bloom_full(BLOOM_BITS_PER_KEY));
    return table;
}

/*
 * RocksDB ends the process when it cannot append to its information log, as on a full disk. So it
 * is told to write nothing but what it writes while it opens, and to keep that little apart.
 */
static void quiet_info_log(rocksdb_options_t *options, const char *directory)
{
    rocksdb_options_set_db_log_dir(options, directory);
    rocksdb_options_set_info_log_level(options, INFO_LOG_FATAL);
    rocksdb_options_set_max_log_file_size(options, INFO_LOG_BYTES);
    rocksdb_options_set_keep_log_file_num(options, INFO_LOG_FILES);
    rocksdb_options_set_stats_dump_period_sec(options, 0);
    rocksdb_options_set_stats_persist_period_sec(options, 0);
}

static rocksdb_options_t *make_options(rocksdb_cache_t *cache, const char *info_directory)
{
    rocksdb_options_t *options = rocksdb_options_create();
    rocksdb_block_based_table_options_t *table = table_options(cache);

    rocksdb_options_set_create_if_missing(options, 1);
    rocksdb_options_set_block_based_table_factory(options, table);
    rocksdb_block_based_options_destroy(table);
    rocksdb_options_set_write_buffer_size(options, WRITE_BUFFER_BYTES);
    rocksdb_options_set_max_write_buffer_number(options, WRITE_BUFFERS);
    rocksdb_options_set_max_total_wal_size(options, LOG_BYTES_UNFLUSHED);
    rocksdb_options_set_max_background_jobs(options, BACKGROUND_JOBS);
    quiet_info_log(options, info_directory);
    return options;
}

static int make_directory(const char *path, struct err *err)
{
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return err_set(err, errno, "cannot make %s: %s", path, strerror(errno));
    return 0;
}

/* RocksDB's errors are texts that begin with their kind. */
static bool is_corruption(const char *error)
{
    return strncmp(error, "Corruption", strlen("Corruption")) == 0;
}

static int refuse_damaged(const char *path, const char *reason, struct err *err)
{
    return err_set(err, EUCLEAN,
                   "%.80s is damaged: restore a backup, or copy the directory "
                   "and repair the copy (%.80s)",
                   path, reason);
}

static int open_error(const char *path, const char *error, struct err *err)
{
    if (is_corruption(error))
        return refuse_damaged(path, error, err);
    if (strstr(error, "lock "))
        return err_set(err, EBUSY, "another process has %.80s open: stop it first", path);
    if (strstr(error, "No space left"))
        return err_set(err, ENOSPC, "cannot open %.80s: the disk is full, make room first", path);
    return err_set(err, EIO, "cannot open %.80s: check the disk and the permissions (%.80s)", path,
                   error);
}

/*
 * Whether everything up to the mark is there when a record without its end, the last of the log, is
 * left out. Changes nothing in the directory.
 */
static bool whole_without_tail(struct store *store, const char *path)
{
    char *error = NULL;
    rocksdb_t *db = rocksdb_open_for_read_only(store->options, path, 0, &error);

    if (error) {
        rocksdb_free(error);
        return false;
    }
    bool whole = rocksdb_get_latest_sequence_number(db) >= store->mark;

    rocksdb_close(db);
    return whole;
}

/*
 * Absolute consistency first: anything else drops acknowledged writes behind a damaged block
 * without a word. But that also refuses what a killed process may leave behind, the beginning of a
 * record that nobody was told of. The mark tells the two apart.
 */
static int open_records(struct store *store, const char *path, struct err *err)
{
    char *error = NULL;

    rocksdb_options_set_wal_recovery_mode(store->options, rocksdb_absolute_consistency_recovery);
    store->db = rocksdb_open(store->options, path, &error);
    if (error && is_corruption(error)) {
        rocksdb_options_set_wal_recovery_mode(store->options,
                                              rocksdb_tolerate_corrupted_tail_records_recovery);
        if (whole_without_tail(store, path)) {
            rocksdb_free(error);
            error = NULL;
            store->db = rocksdb_open(store->options, path, &error);
        }
    }
    if (error) {
        int result = open_error(path, error, err);

        rocksdb_free(error);
        return result;
    }
    if (rocksdb_get_latest_sequence_number(store->db) < store->mark)
        return refuse_damaged(path, "acknowledged writes are missing", err);
    return 0;
}

static int open_database(struct store *store, const char *directory, struct err *err)
{
    char path[3][PATH_MAX];
    static const char *const names[] = {"records", "info", "mark"};

    for (int i = 0; i < 3; i++) {
        if (snprintf(path[i], PATH_MAX, "%s/%s", directory, names[i]) >= PATH_MAX)
            return err_set(err, ENAMETOOLONG, "the path of the database is too long");
    }
    int result = make_directory(directory, err);

    if (result == 0)
        result = make_directory(path[1], err);
    if (result < 0)
        return result;
    store->mark_fd = mark_open(path[2], &store->mark);
    if (store->mark_fd < 0)
        return err_set(err, -store->mark_fd, "cannot open %.200s", path[2]);
    store->cache = rocksdb_cache_create_lru(BLOCK_CACHE_BYTES);
    store->options = make_options(store->cache, path[1]);
    store->read_options = rocksdb_readoptions_create();
    result = open_records(store, path[0], err);
    if (result < 0)
        return result;
    result = writer_new(store->db, store->mark_fd, &store->writer);
    return result < 0 ? err_set(err, -result, "cannot start the store's writer") : 0;
}

int store_open(const char *directory, struct store **ret_store, struct err *err)
{
    struct store *store = calloc(1, sizeof(*store));

    if (!store)
        return err_set(err, ENOMEM, "no memory for the store");
    store->mark_fd = -1;
    int result = open_database(store, directory, err);

    if (result < 0) {
        store_close(store);
        return result;
    }
    *ret_store = store;
    return 0;
}

void store_close(struct store *store)
{
    if (!store)
        return;
    writer_free(store->writer);
    if (store->db)
        rocksdb_close(store->db);
    if (store->options)
        rocksdb_options_destroy(store->options);
    if (store->read_options)
        rocksdb_readoptions_destroy(store->read_options);
    if (store->cache)
        rocksdb_cache_destroy(store->cache);
    if (store->mark_fd >= 0)
        (void)close(store->mark_fd);
    free(store);
}

int store_get(struct store *store, struct bytes key, struct buf *ret_value)
{
    char *error = NULL;
    rocksdb_pinnableslice_t *slice = rocksdb_get_pinned(store->db, store->read_options,
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
    rocksdb_readoptions_t *options = rocksdb_readoptions_create();

    if (prefix_end(prefix, &end))
        rocksdb_readoptions_set_iterate_upper_bound(options, (const char *)end.data, end.size);
    rocksdb_iterator_t *iterator = rocksdb_create_iterator(store->db, options);

    seek(iterator, prefix, start, order);
    int result = visit_all(iterator, prefix, order, visit, arg);

    rocksdb_iter_destroy(iterator);
    rocksdb_readoptions_destroy(options);
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

int store_commit(struct store *store, struct store_batch *batch, enum store_sync sync)
{
    int result = writer_commit(store->writer, batch, sync == STORE_SYNCED);

    store_batch_free(batch);
    return result;
}
