/* A damaged database is refused, or opened with what comes before the damage if that is accepted.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/stores.h"

/* --- refused ------------------------------------------------------------------------------- */

/* The path of the log file that is written last. */
static char *newest_wal(const char *directory)
{
    char *newest = NULL;
    char *records = NULL;
    struct dirent **names;

    assert_true(asprintf(&records, "%s/records", directory) > 0);
    int count = scandir(records, &names, NULL, alphasort);

    for (int i = 0; i < count; i++) {
        size_t size = strlen(names[i]->d_name);

        if (size > 4 && strcmp(names[i]->d_name + size - 4, ".log") == 0) {
            free(newest);
            assert_true(asprintf(&newest, "%s/%s", records, names[i]->d_name) > 0);
        }
        free(names[i]);
    }
    free(names);
    free(records);
    assert_non_null(newest);
    return newest;
}

static char *written_wal(const char *directory, unsigned keys)
{
    struct store *store = stores_open(directory);

    for (unsigned i = 0; i < keys; i++) {
        char key[16];

        (void)snprintf(key, sizeof(key), "key%u", i);
        assert_int_equal(stores_put(store, key, "a value that can be damaged", STORE_SYNCED), 0);
    }
    store_close(store);
    return newest_wal(directory);
}

static off_t file_size(const char *path)
{
    struct stat status;

    assert_int_equal(stat(path, &status), 0);
    return status.st_size;
}

static void assert_refused(const char *directory)
{
    struct store *store = NULL;
    struct err err = {0};

    assert_int_equal(store_open(directory, &store, &err), -EUCLEAN);
    assert_null(store);
    assert_int_equal(err.code, EUCLEAN);
    assert_non_null(strstr(err.message, "DATA_LOSS"));
    assert_non_null(strstr(err.message, "restore a backup"));
}

static void flip_byte(const char *path, off_t at)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    uint8_t byte;

    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 0x55;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    (void)close(fd);
}

static void damaged_wal_is_refused(void **state)
{
    char *wal = written_wal(*state, 100);

    flip_byte(wal, file_size(wal) / 2);
    off_t size = file_size(wal);

    assert_refused(*state);
    /* Refusing changed nothing, so it is refused again, and can be repaired. */
    assert_int_equal(file_size(wal), size);
    assert_refused(*state);
    flip_byte(wal, size / 2);
    struct store *store = stores_open(*state);

    assert_true(stores_has(store, "key99", "a value that can be damaged"));
    store_close(store);
    free(wal);
}

/* The last record's length is damaged: it looks like one that was cut off, and is not. */
static void lost_acknowledged_tail_is_refused(void **state)
{
    char *wal = written_wal(*state, 10);

    assert_int_equal(truncate(wal, file_size(wal) - 5), 0);
    assert_refused(*state);
    assert_refused(*state);
    free(wal);
}

/* What a kill in the middle of a write leaves: the beginning of a record nobody was told of. */
static void unacknowledged_tail_is_dropped(void **state)
{
    char *wal = written_wal(*state, 10);
    off_t whole = file_size(wal);
    /* The header of a record that promises more bytes than follow. */
    int fd = open(wal, O_WRONLY | O_APPEND | O_CLOEXEC);

    assert_int_equal(write(fd, "\x11\x22\x33\x44\x40\x00\x01torn", 11), 11);
    (void)close(fd);
    assert_int_equal(file_size(wal), whole + 11);
    struct store *store = stores_open(*state);

    assert_true(stores_has(store, "key9", "a value that can be damaged"));
    assert_int_equal(stores_put(store, "after", "it", STORE_SYNCED), 0);
    store_close(store);
    store = stores_open(*state);
    assert_true(stores_has(store, "after", "it"));
    store_close(store);
    free(wal);
}

/* --- accepted ------------------------------------------------------------------------------ */

static int open_anyway(const char *directory, struct store **ret_store, struct err *err)
{
    struct store_options options = {.directory = directory, .accept_loss = true};

    return store_open_with(&options, ret_store, err);
}

static void assert_copied(const char *directory, const char *wal, off_t size)
{
    char path[512];

    (void)snprintf(path, sizeof(path), "%s/records.damaged-1/%s", directory, strrchr(wal, '/') + 1);
    assert_int_equal(file_size(path), size);
}

/* Of 100 keys some must be left, and some must not; none behind one that is not. */
static unsigned count_left(struct store *store)
{
    unsigned left = 0;
    bool gone = false;

    for (unsigned i = 0; i < 100; i++) {
        char key[16];

        (void)snprintf(key, sizeof(key), "key%u", i);
        bool there = stores_has(store, key, "a value that can be damaged");

        assert_false(there && gone);
        gone = !there;
        left += there;
    }
    return left;
}

static void accepted_loss_leaves_what_comes_before(void **state)
{
    char *wal = written_wal(*state, 100);
    off_t size = file_size(wal);
    struct store *store = NULL;
    struct err err = {0};
    char expected[64];

    flip_byte(wal, size / 2);
    assert_refused(*state);
    assert_int_equal(open_anyway(*state, &store, &err), 0);
    unsigned left = count_left(store);

    assert_true(left > 30 && left < 70);
    (void)snprintf(expected, sizeof(expected), "DATA_LOSS: %u changes", 100 - left);
    assert_non_null(strstr(store_warning(store), expected));
    assert_non_null(strstr(store_warning(store), "records.damaged-1"));
    assert_copied(*state, wal, size);
    assert_int_equal(stores_put(store, "after", "it", STORE_SYNCED), 0);
    store_close(store);
    /* From now on it is like any other. */
    store = stores_open(*state);
    assert_string_equal(store_warning(store), "");
    assert_int_equal(count_left(store), left);
    assert_true(stores_has(store, "after", "it"));
    store_close(store);
    free(wal);
}

static void accepted_loss_of_the_tail_is_said(void **state)
{
    char *wal = written_wal(*state, 100);
    struct store *store = NULL;
    struct err err = {0};

    assert_int_equal(truncate(wal, file_size(wal) - 5), 0);
    assert_int_equal(open_anyway(*state, &store, &err), 0);
    assert_int_equal(count_left(store), 99);
    assert_non_null(strstr(store_warning(store), "DATA_LOSS: 1 changes"));
    store_close(store);
    free(wal);
}

static void nothing_is_lost_of_what_is_whole(void **state)
{
    char *wal = written_wal(*state, 100);
    struct store *store = NULL;
    struct err err = {0};
    char path[512];

    assert_int_equal(open_anyway(*state, &store, &err), 0);
    assert_string_equal(store_warning(store), "");
    assert_int_equal(count_left(store), 100);
    (void)snprintf(path, sizeof(path), "%s/records.damaged-1", (char *)*state);
    assert_int_equal(access(path, F_OK), -1);
    store_close(store);
    free(wal);
}

static void what_cannot_be_repaired_is_refused_and_kept(void **state)
{
    char *wal = written_wal(*state, 10);
    struct store *store = NULL;
    struct err err = {0};
    char path[512];

    (void)snprintf(path, sizeof(path), "%s/records/CURRENT", (char *)*state);
    flip_byte(path, 3);
    int result = open_anyway(*state, &store, &err);

    assert_true(result == -EUCLEAN || result == -EIO);
    assert_null(store);
    flip_byte(path, 3);
    store = stores_open(*state);
    assert_true(stores_has(store, "key9", "a value that can be damaged"));
    store_close(store);
    free(wal);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORES_TEST(damaged_wal_is_refused),
        STORES_TEST(lost_acknowledged_tail_is_refused),
        STORES_TEST(unacknowledged_tail_is_dropped),
        STORES_TEST(accepted_loss_leaves_what_comes_before),
        STORES_TEST(accepted_loss_of_the_tail_is_said),
        STORES_TEST(nothing_is_lost_of_what_is_whole),
        STORES_TEST(what_cannot_be_repaired_is_refused_and_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
