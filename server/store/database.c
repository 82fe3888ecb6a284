#include "server/store/database.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "server/store/damage.h"
#include "server/store/mark.h"
#include "server/util/cleanup.h"

#define WRITE_BUFFER_BYTES (4U << 20)
#define WRITE_BUFFERS 3
#define BLOCK_CACHE_BYTES (32U << 20)
#define LOG_BYTES_UNFLUSHED (32U << 20)
#define BLOOM_BITS_PER_KEY 10
#define BACKGROUND_JOBS 2
#define INFO_LOG_FILES 2
#define INFO_LOG_FATAL 4 /* RocksDB's InfoLogLevel, which its C header does not name */
/* For a new log, which is taken in advance, and for what else opening writes. */
#define ROOM_TO_OPEN (2 * WRITE_BUFFER_BYTES)

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
 * is told to write nothing into it, and to keep the empty file apart. A log with a size limit would
 * get a header at every opening, whatever the level.
 */
static void quiet_info_log(rocksdb_options_t *options, const char *directory)
{
    rocksdb_options_set_db_log_dir(options, directory);
    rocksdb_options_set_info_log_level(options, INFO_LOG_FATAL);
    rocksdb_options_set_max_log_file_size(options, 0);
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
                   "DATA_LOSS: %.80s is damaged: restore a backup, or go on without what is lost "
                   "with --accept-data-loss (%.60s)",
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
static bool whole_without_tail(const struct database *database)
{
    char *error = NULL;
    rocksdb_t *db = rocksdb_open_for_read_only(database->options, database->path, 0, &error);

    if (error) {
        rocksdb_free(error);
        return false;
    }
    bool whole = rocksdb_get_latest_sequence_number(db) >= database->mark;

    rocksdb_close(db);
    return whole;
}

/*
 * Absolute consistency first: anything else drops acknowledged writes behind a damaged block
 * without a word. But that also refuses what a killed process may leave behind, the beginning of a
 * record that nobody was told of. The mark tells the two apart.
 */
static int open_records(struct database *database, struct err *err)
{
    char *error = NULL;

    rocksdb_options_set_wal_recovery_mode(database->options, rocksdb_absolute_consistency_recovery);
    database->db = rocksdb_open(database->options, database->path, &error);
    if (error && is_corruption(error)) {
        rocksdb_options_set_wal_recovery_mode(database->options,
                                              rocksdb_tolerate_corrupted_tail_records_recovery);
        if (whole_without_tail(database)) {
            rocksdb_free(error);
            error = NULL;
            database->db = rocksdb_open(database->options, database->path, &error);
        }
    }
    if (error) {
        int result = open_error(database->path, error, err);

        rocksdb_free(error);
        return result;
    }
    if (rocksdb_get_latest_sequence_number(database->db) < database->mark)
        return refuse_damaged(database->path, "acknowledged writes are missing", err);
    return 0;
}

/*
 * What can be had up to the first damage, after a copy was made of what is there. The next opening
 * is as if nothing had happened: the mark moves back.
 */
static int open_damaged(struct database *database, struct err *err)
{
    char copy[PATH_MAX];
    char *error = NULL;

    if (database->db)
        rocksdb_close(database->db);
    database->db = NULL;
    int result = damage_keep(database->path, copy, err);

    if (result < 0)
        return result;
    rocksdb_options_set_wal_recovery_mode(database->options, rocksdb_point_in_time_recovery);
    database->db = rocksdb_open(database->options, database->path, &error);
    if (error) {
        (void)err_set(err, EUCLEAN,
                      "DATA_LOSS: %.80s is damaged beyond repair: restore a backup (%.80s)",
                      database->path, error);
        rocksdb_free(error);
        return -EUCLEAN;
    }
    uint64_t sequence = rocksdb_get_latest_sequence_number(database->db);
    uint64_t lost = database->mark > sequence ? database->mark - sequence : 0;

    (void)snprintf(
        database->warning, sizeof(database->warning),
        "DATA_LOSS: %llu changes that were acknowledged are gone, if not more; the damaged "
        "database is kept in %.200s",
        (unsigned long long)lost, copy);
    database->mark = sequence;
    result = mark_write(database->mark_fd, sequence);
    return result < 0 ? err_set(err, -result, "the mark of the database cannot be written") : 0;
}

/* Those who read all the time would otherwise never let the writer heal. */
static void init_lock(pthread_rwlock_t *lock)
{
    pthread_rwlockattr_t attributes;

    (void)pthread_rwlockattr_init(&attributes);
    (void)pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    (void)pthread_rwlock_init(lock, &attributes);
    (void)pthread_rwlockattr_destroy(&attributes);
}

int database_open(struct database *database, const char *directory, bool accept_loss,
                  struct err *err)
{
    char info[PATH_MAX];
    char mark[PATH_MAX];

    init_lock(&database->lock);
    database->mark_fd = -1;
    if (snprintf(database->path, PATH_MAX, "%s/records", directory) >= PATH_MAX)
        return err_set(err, ENAMETOOLONG, "the path of the database is too long");
    (void)snprintf(info, sizeof(info), "%s/info", directory);
    (void)snprintf(mark, sizeof(mark), "%s/mark", directory);
    int result = make_directory(directory, err);

    if (result == 0)
        result = make_directory(info, err);
    if (result < 0)
        return result;
    database->mark_fd = mark_open(mark, &database->mark);
    if (database->mark_fd < 0)
        return err_set(err, -database->mark_fd, "cannot open %.200s", mark);
    database->cache = rocksdb_cache_create_lru(BLOCK_CACHE_BYTES);
    database->options = make_options(database->cache, info);
    database->read_options = rocksdb_readoptions_create();
    result = open_records(database, err);
    if (result == -EUCLEAN && accept_loss)
        result = open_damaged(database, err);
    return result;
}

void database_close(struct database *database)
{
    if (database->db)
        rocksdb_close(database->db);
    if (database->options)
        rocksdb_options_destroy(database->options);
    if (database->read_options)
        rocksdb_readoptions_destroy(database->read_options);
    if (database->cache)
        rocksdb_cache_destroy(database->cache);
    if (database->mark_fd >= 0)
        (void)close(database->mark_fd);
    (void)pthread_rwlock_destroy(&database->lock);
}

int database_use(struct database *database)
{
    (void)pthread_rwlock_rdlock(&database->lock);
    if (database->db)
        return 0;
    (void)pthread_rwlock_unlock(&database->lock);
    return -EIO;
}

void database_leave(struct database *database)
{
    (void)pthread_rwlock_unlock(&database->lock);
}

void database_keep_out(struct database *database)
{
    (void)pthread_rwlock_wrlock(&database->lock);
}

/* Of the logs, whose records opening writes into tables. */
static uint64_t log_bytes(const char *path)
{
    uint64_t size = 0;
    struct stat file;
    DIR *dir = opendir(path);

    if (!dir)
        return 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        size_t length = strlen(entry->d_name);

        if (length > 4 && strcmp(entry->d_name + length - 4, ".log") == 0 &&
            fstatat(dirfd(dir), entry->d_name, &file, AT_SYMLINK_NOFOLLOW) == 0)
            size += (uint64_t)file.st_size;
    }
    (void)closedir(dir);
    return size;
}

bool database_has_room(const struct database *database)
{
    struct statvfs disk;

    return statvfs(database->path, &disk) < 0 ||
           (uint64_t)disk.f_bavail * disk.f_frsize >= log_bytes(database->path) + ROOM_TO_OPEN;
}

int database_reopen(struct database *database, struct err *err)
{
    char *error = NULL;

    if (database->db)
        rocksdb_close(database->db);
    database->db = NULL;
    int result = open_records(database, err);

    if (result < 0 && !database->db)
        database->db = rocksdb_open_for_read_only(database->options, database->path, 0, &error);
    rocksdb_free(error);
    return result;
}

/* How far the database has come, written before it is copied: the copy has at least so much. */
static int write_copied_mark(const struct database *database, const char *path)
{
    uint64_t none;
    int fd = mark_open(path, &none);
    int result = fd < 0 ? fd : mark_write(fd, rocksdb_get_latest_sequence_number(database->db));

    if (fd >= 0)
        (void)close(fd);
    return result;
}

int database_checkpoint(struct database *database, const char *directory, struct err *err)
{
    char path[PATH_MAX];
    char *error = NULL;

    if (snprintf(path, sizeof(path), "%s/records", directory) >= (int)sizeof(path))
        return err_set(err, ENAMETOOLONG, "the path of the copy is too long");
    if (mkdir(directory, 0700) < 0)
        return err_set(err, errno, "cannot make %s: %s", directory, strerror(errno));
    (void)snprintf(path, sizeof(path), "%s/mark", directory);
    int result = write_copied_mark(database, path);

    if (result < 0)
        return err_set(err, -result, "cannot write %s: %s", path, strerror(-result));
    (void)snprintf(path, sizeof(path), "%s/records", directory);
    rocksdb_checkpoint_t *checkpoint = rocksdb_checkpoint_object_create(database->db, &error);

    if (!error)
        rocksdb_checkpoint_create(checkpoint, path, 0, &error);
    if (checkpoint)
        rocksdb_checkpoint_object_destroy(checkpoint);
    if (!error)
        return 0;
    (void)err_set(err, EIO, "the database cannot be copied (%.120s)", error);
    rocksdb_free(error);
    return -EIO;
}
