/* The database on a disk that fills up and empties again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/unit/small_disk.h"
#include "tests/unit/stores.h"

#define MIB (1UL << 20)
#define RESERVE (48 * MIB)
#define VALUE_BYTES 3000
#define COMMITS_MAX 40000 /* more than the disk could ever hold */

struct full {
    const char *disk;
    struct space *space;
    struct store *store;
    unsigned acknowledged; /* keys 0 to this */
    struct stores_watch watch;
};

static void open_full(struct full *full)
{
    char path[512];
    struct err err = {0};

    (void)snprintf(path, sizeof(path), "%s/db", full->disk);
    struct store_options options = {.directory = path, .space = full->space};

    if (store_open_with(&options, &full->store, &err) != 0)
        fail_msg("%s", err.message);
    stores_watch(full->store, &full->watch);
}

static struct full *full_new(const char *disk, uint64_t reserve)
{
    struct full *full = calloc(1, sizeof(*full));
    struct err err = {0};

    assert_non_null(full);
    full->disk = disk;
    if (reserve > 0 && space_new(disk, reserve, &full->space, &err) != 0)
        fail_msg("%s", err.message);
    open_full(full);
    return full;
}

static void full_free(struct full *full)
{
    store_close(full->store);
    space_free(full->space);
    free(full);
}

static int commit_next(struct full *full)
{
    static char value[VALUE_BYTES];
    struct store_batch *batch = store_batch_new();
    unsigned number = full->acknowledged;

    store_batch_put(batch, bytes_of(&number, sizeof(number)), bytes_of(value, sizeof(value)));
    int result = store_commit(full->store, batch, STORE_SYNCED);

    if (result == 0)
        full->acknowledged++;
    return result;
}

static void commit_some(struct full *full, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(commit_next(full), 0);
}

static void commit_until_full(struct full *full)
{
    int result = 0;

    for (unsigned i = 0; i < COMMITS_MAX && result == 0; i++)
        result = commit_next(full);
    assert_int_equal(result, -ENOSPC);
}

static void assert_all_there(struct full *full)
{
    for (unsigned number = 0; number <= full->acknowledged; number++) {
        cleanup_buf struct buf buf = {0};
        int result = store_get(full->store, bytes_of(&number, sizeof(number)), &buf);

        assert_int_equal(result, number < full->acknowledged ? 0 : -ENOENT);
        assert_int_equal(buf.size, number < full->acknowledged ? VALUE_BYTES : 0);
    }
}

static void reopen(struct full *full)
{
    store_close(full->store);
    open_full(full);
}

static void a_full_disk_is_said_and_heals(void **state)
{
    struct full *full = full_new(small_disk_of(state), 0);

    commit_some(full, 2000);
    for (int round = 0; round < 3; round++) {
        small_disk_fill(full->disk, "fill", 0);
        commit_until_full(full);
        struct status status = store_writable(full->store);

        assert_int_equal(status.code, STATUS_UNAVAILABLE);
        assert_string_equal(status.reason, "DISK_FULL");
        assert_true(status.retryable);
        assert_int_equal(commit_next(full), -ENOSPC);
        assert_all_there(full);
        small_disk_remove(full->disk, "fill");
        stores_await_writable(&full->watch);
        assert_all_there(full);
        commit_some(full, 100);
    }
    assert_all_there(full);
    reopen(full);
    assert_all_there(full);
    full_free(full);
}

/* With the ballast the database goes on when everything else has run out. */
static void the_ballast_carries_on(void **state)
{
    struct full *full = full_new(small_disk_of(state), RESERVE);

    commit_some(full, 100);
    small_disk_fill(full->disk, "fill", 0);
    /* Far more than what RocksDB had taken in advance. */
    commit_some(full, 3000);
    struct status status = store_writable(full->store);

    assert_true(status_is_ok(&status));
    status = space_admit(full->space);
    assert_string_equal(status.reason, "DISK_FULL");
    assert_all_there(full);
    small_disk_remove(full->disk, "fill");
    commit_some(full, 1);
    reopen(full);
    assert_all_there(full);
    full_free(full);
}

struct flood {
    const char *disk;
    atomic_bool stop;
};

/* Takes every byte that becomes free, as the output of commands might. */
static void *flood_main(void *arg)
{
    struct flood *flood = arg;

    while (!atomic_load(&flood->stop))
        small_disk_fill(flood->disk, "flood", 0);
    return NULL;
}

static void a_flood_that_eats_the_ballast_is_outlived(void **state)
{
    struct full *full = full_new(small_disk_of(state), RESERVE);
    struct flood flood = {.disk = full->disk};
    pthread_t thread;

    commit_some(full, 500);
    assert_int_equal(pthread_create(&thread, NULL, flood_main, &flood), 0);
    commit_until_full(full);
    assert_all_there(full);
    atomic_store(&flood.stop, true);
    (void)pthread_join(thread, NULL);
    small_disk_remove(full->disk, "flood");
    stores_await_writable(&full->watch);
    commit_some(full, 100);
    assert_all_there(full);
    reopen(full);
    assert_all_there(full);
    full_free(full);
}

/* What a restart on a full disk meets. */
static void a_full_disk_at_the_start_is_said(void **state)
{
    struct full *full = full_new(small_disk_of(state), 0);
    struct store *store = NULL;
    struct err err = {0};
    char path[512];

    commit_some(full, 1000);
    store_close(full->store);
    small_disk_fill(full->disk, "fill", 0);
    (void)snprintf(path, sizeof(path), "%s/db", full->disk);
    assert_int_equal(store_open(path, &store, &err), -ENOSPC);
    assert_non_null(strstr(err.message, "make room"));
    small_disk_remove(full->disk, "fill");
    open_full(full);
    assert_all_there(full);
    full_free(full);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SMALL_DISK_TEST(a_full_disk_is_said_and_heals),
        SMALL_DISK_TEST(the_ballast_carries_on),
        SMALL_DISK_TEST(a_flood_that_eats_the_ballast_is_outlived),
        SMALL_DISK_TEST(a_full_disk_at_the_start_is_said),
    };

    return cmocka_run_group_tests(tests, small_disk_group, NULL);
}
