/* A write that fails: what callers hear of it, what is there afterwards, and how writing goes on.
 */
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
#include <sys/syscall.h>
#include <unistd.h>

#include "server/store/record.h"
#include "tests/unit/stores.h"

#define FOR_EVER 1000000
#define THREADS 6
#define COMMITS 300

/* --- a disk that fails --------------------------------------------------------------------- */

/* How many writes to, or syncs of, RocksDB's log fail from now on. */
static atomic_int failing_writes;
static atomic_int failing_syncs;

static bool is_log(int fd)
{
    char link[32];
    char path[512];

    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof(path) - 1);

    return size > 4 && memcmp(path + size - 4, ".log", 4) == 0;
}

static bool shall_fail(atomic_int *left, int fd)
{
    return atomic_load(left) > 0 && is_log(fd) && atomic_fetch_sub(left, 1) > 0;
}

/* These stand before the C library's own, for RocksDB too. */
ssize_t write(int fd, const void *data, size_t size)
{
    if (shall_fail(&failing_writes, fd)) {
        errno = EIO;
        return -1;
    }
    return syscall(SYS_write, fd, data, size);
}

int fdatasync(int fd)
{
    if (shall_fail(&failing_syncs, fd)) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fdatasync, fd);
}

/* --- what the store says ------------------------------------------------------------------- */

static struct store *open_store(const char *directory, struct stores_watch *watch)
{
    struct store *store = stores_open(directory);

    stores_watch(store, watch);
    assert_int_equal(watch->count, 1);
    assert_true(status_is_ok(&watch->now));
    return store;
}

/* "" for what is not there. */
static void assert_value(struct store *store, const char *key, const char *value)
{
    cleanup_buf struct buf buf = {0};
    int result = store_get(store, bytes_of_string(key), &buf);

    if (value[0] == '\0' && result == -ENOENT)
        return;
    assert_int_equal(result, 0);
    buf_append(&buf, "", 1);
    assert_string_equal((char *)buf.data, value);
}

/* --- tests --------------------------------------------------------------------------------- */

static void one_failure_is_nobodys_business(void **state)
{
    atomic_int *const kinds[] = {&failing_writes, &failing_syncs};
    struct stores_watch watch;
    struct store *store = open_store(*state, &watch);

    assert_int_equal(stores_put(store, "before", "it", STORE_SYNCED), 0);
    for (size_t i = 0; i < 2; i++) {
        /* Each on a store of its own: one that fails again at once is left alone for a while. */
        atomic_store(kinds[i], 1);
        assert_int_equal(stores_put(store, "during", i ? "two" : "one", STORE_SYNCED), 0);
        assert_int_equal(atomic_load(kinds[i]), 0);
        assert_int_equal(stores_put(store, "after", "it", STORE_SYNCED), 0);
        assert_value(store, "before", "it");
        assert_value(store, "during", i ? "two" : "one");
        assert_int_equal(watch.count, 1);
        store_watch(store, NULL, NULL);
        store_close(store);
        store = open_store(*state, &watch);
        assert_value(store, "during", i ? "two" : "one");
        assert_value(store, "after", "it");
    }
    store_close(store);
}

static void assert_failed(struct store *store, struct stores_watch *watch)
{
    struct status status = store_writable(store);

    assert_int_equal(status.code, STATUS_UNAVAILABLE);
    assert_string_equal(status.reason, "STORE_FAILED");
    assert_true(status.retryable);
    assert_string_equal(watch->now.reason, "STORE_FAILED");
    assert_int_equal(watch->count, 2);
}

static void what_was_refused_is_not_there_when_the_disk_works_again(void **state)
{
    struct stores_watch watch;
    struct store *store = open_store(*state, &watch);
    struct store_batch *batch = store_batch_new();

    assert_int_equal(stores_put(store, "kept", "it", STORE_SYNCED), 0);
    assert_int_equal(stores_put(store, "changed", "old", STORE_SYNCED), 0);
    assert_int_equal(stores_put(store, "deleted", "old", STORE_SYNCED), 0);
    /* All of the batch gets into RocksDB's log before the sync fails. */
    atomic_store(&failing_syncs, FOR_EVER);
    store_batch_put(batch, bytes_of_string("changed"), bytes_of_string("new"));
    store_batch_put(batch, bytes_of_string("made"), bytes_of_string("new"));
    store_batch_delete(batch, bytes_of_string("deleted"));
    assert_int_equal(store_commit(store, batch, STORE_SYNCED), -EIO);
    assert_failed(store, &watch);
    assert_int_equal(stores_put(store, "refused", "new", STORE_SYNCED), -EIO);
    assert_value(store, "refused", "");
    assert_value(store, "kept", "it");
    atomic_store(&failing_syncs, 0);
    stores_await_writable(&watch);
    assert_value(store, "changed", "old");
    assert_value(store, "deleted", "old");
    assert_value(store, "made", "");
    assert_value(store, "refused", "");
    assert_int_equal(watch.count, 3);
    assert_int_equal(stores_put(store, "after", "it", STORE_SYNCED), 0);
    store_close(store);
    store = open_store(*state, &watch);
    assert_value(store, "changed", "old");
    assert_value(store, "deleted", "old");
    assert_value(store, "made", "");
    assert_value(store, "after", "it");
    store_close(store);
}

/* It is not waited for. */
static void a_store_that_fails_can_be_closed(void **state)
{
    struct stores_watch watch;
    struct store *store = open_store(*state, &watch);

    assert_int_equal(stores_put(store, "before", "it", STORE_SYNCED), 0);
    atomic_store(&failing_writes, FOR_EVER);
    assert_int_equal(stores_put(store, "refused", "it", STORE_SYNCED), -EIO);
    store_close(store);
    atomic_store(&failing_writes, 0);
    store = open_store(*state, &watch);
    assert_value(store, "before", "it");
    store_close(store);
}

struct committer {
    struct store *store;
    struct stores_watch *watch;
    unsigned number;
    bool acknowledged[COMMITS];
};

static void *commit_many(void *arg)
{
    struct committer *committer = arg;

    for (unsigned i = 0; i < COMMITS; i++) {
        char key[32];

        (void)snprintf(key, sizeof(key), "%02u/%03u", committer->number, i);
        committer->acknowledged[i] = stores_put(committer->store, key, "x", STORE_SYNCED) == 0;
        if (!committer->acknowledged[i])
            stores_await_writable(committer->watch);
        /* Sometimes healed at once, and sometimes not. */
        if (committer->number == 0 && i % 60 == 20)
            atomic_store(&failing_syncs, i % 120 == 20 ? 1 : 2);
    }
    return NULL;
}

static void acknowledged_is_there_and_refused_is_not(void **state)
{
    static struct committer committers[THREADS];
    pthread_t threads[THREADS];
    struct stores_watch watch;
    struct store *store = open_store(*state, &watch);
    unsigned refused = 0;

    for (unsigned i = 0; i < THREADS; i++) {
        committers[i] = (struct committer){.store = store, .watch = &watch, .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, commit_many, &committers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        (void)pthread_join(threads[i], NULL);
    for (int again = 0; again < 2; again++) {
        for (unsigned i = 0; i < THREADS * COMMITS; i++) {
            bool acknowledged = committers[i / COMMITS].acknowledged[i % COMMITS];
            char key[32];

            (void)snprintf(key, sizeof(key), "%02u/%03u", i / COMMITS, i % COMMITS);
            assert_value(store, key, acknowledged ? "x" : "");
            refused += !acknowledged;
        }
        store_close(store);
        store = open_store(*state, &watch);
    }
    assert_true(refused > 0);
    store_close(store);
}

static int change_one(void *arg, const char *project_id, const char *id)
{
    assert_string_equal(project_id, "project");
    return stores_put(arg, id, "changed", STORE_SYNCED);
}

static void what_is_visited_may_change_while_the_disk_fails(void **state)
{
    struct stores_watch watch;
    struct store *store = open_store(*state, &watch);

    assert_int_equal(stores_put(store, "live/one", "project", STORE_SYNCED), 0);
    assert_int_equal(stores_put(store, "live/two", "project", STORE_SYNCED), 0);
    atomic_store(&failing_syncs, FOR_EVER);
    assert_int_equal(record_each(store, "live", change_one, store), -EIO);
    atomic_store(&failing_syncs, 0);
    stores_await_writable(&watch);
    assert_value(store, "one", "");
    assert_int_equal(record_each(store, "live", change_one, store), 0);
    assert_value(store, "one", "changed");
    assert_value(store, "two", "changed");
    store_close(store);
}

static int mend_disk(void **state)
{
    atomic_store(&failing_writes, 0);
    atomic_store(&failing_syncs, 0);
    return stores_teardown(state);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, stores_setup, mend_disk)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(one_failure_is_nobodys_business),
        TEST(what_was_refused_is_not_there_when_the_disk_works_again),
        TEST(a_store_that_fails_can_be_closed),
        TEST(acknowledged_is_there_and_refused_is_not),
        TEST(what_is_visited_may_change_while_the_disk_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
