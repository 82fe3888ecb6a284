/* The database: what is acknowledged stays, scans come in order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/stores.h"

#define KILL_ROUNDS 6
#define KILL_THREADS 4
#define ACKNOWLEDGED_MIN 300
#define THREADS 16
#define COMMITS 50

/* --- kill -9 ------------------------------------------------------------------------------- */

struct killed {
    struct store *store;
    int pipe;
    unsigned round;
    atomic_uint counter;
};

/* Values larger than a page, so that a write can be cut in its middle. */
static void *commit_for_ever(void *arg)
{
    struct killed *killed = arg;
    static char value[9000];

    for (;;) {
        unsigned number = killed->round << 20 | atomic_fetch_add(&killed->counter, 1);
        char key[16];
        struct store_batch *batch = store_batch_new();

        (void)snprintf(key, sizeof(key), "%08x", number);
        store_batch_put(batch, bytes_of_string(key), bytes_of(value, sizeof(value)));
        if (store_commit(killed->store, batch, number % 2 ? STORE_SYNCED : STORE_UNSYNCED) != 0)
            _exit(2);
        if (write(killed->pipe, &number, sizeof(number)) != sizeof(number))
            _exit(3);
    }
}

static void child_writes(const char *directory, int pipe, unsigned round)
{
    struct killed killed = {.pipe = pipe, .round = round};
    pthread_t threads[KILL_THREADS];
    struct err err = {0};

    if (store_open(directory, &killed.store, &err) != 0) {
        print_error("%s\n", err.message);
        _exit(1);
    }
    for (int i = 0; i < KILL_THREADS; i++)
        (void)pthread_create(&threads[i], NULL, commit_for_ever, &killed);
    (void)pthread_join(threads[0], NULL);
}

/* In a process of its own, so that the one that forks never has threads. */
static void child_checks(const char *directory, const unsigned *numbers, size_t count)
{
    struct store *store = NULL;
    struct err err = {0};

    if (store_open(directory, &store, &err) != 0) {
        print_error("%s\n", err.message);
        _exit(1);
    }
    for (size_t i = 0; i < count; i++) {
        cleanup_buf struct buf buf = {0};
        char key[16];

        (void)snprintf(key, sizeof(key), "%08x", numbers[i]);
        if (store_get(store, bytes_of_string(key), &buf) != 0 || buf.size != 9000)
            _exit(2);
    }
    store_close(store);
    _exit(0);
}

static void read_acknowledged(int pipe, struct buf *numbers, size_t until)
{
    unsigned chunk[1024];
    ssize_t got;

    while (numbers->size < until * sizeof(unsigned) && (got = read(pipe, chunk, sizeof(chunk))) > 0)
        buf_append(numbers, chunk, (size_t)got);
}

static void acknowledged_commits_survive_kill(void **state)
{
    cleanup_buf struct buf numbers = {0};

    for (unsigned round = 0; round < KILL_ROUNDS; round++) {
        int ends[2];
        int status;

        assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
        pid_t child = fork();

        if (child == 0)
            child_writes(*state, ends[1], round);
        (void)close(ends[1]);
        read_acknowledged(ends[0], &numbers,
                          numbers.size / sizeof(unsigned) + ACKNOWLEDGED_MIN + 37 * round);
        assert_int_equal(kill(child, SIGKILL), 0);
        read_acknowledged(ends[0], &numbers, SIZE_MAX / sizeof(unsigned));
        (void)close(ends[0]);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));

        child = fork();
        if (child == 0)
            child_checks(*state, (const unsigned *)numbers.data, numbers.size / sizeof(unsigned));
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
        assert_true(numbers.size / sizeof(unsigned) >= (round + 1) * ACKNOWLEDGED_MIN);
    }
}

/* --- opening ------------------------------------------------------------------------------- */

static void second_opener_is_refused(void **state)
{
    struct store *store = stores_open(*state);
    struct store *second = NULL;
    struct err err = {0};

    assert_int_equal(store_open(*state, &second, &err), -EBUSY);
    store_close(store);
}

static void unusable_directory_is_an_error(void **state)
{
    struct store *store = NULL;
    struct err err = {0};
    char *path = NULL;

    assert_true(asprintf(&path, "%s/missing/deeper", (char *)*state) > 0);
    assert_int_equal(store_open(path, &store, &err), -ENOENT);
    assert_non_null(strstr(err.message, path));
    free(path);
}

/* --- get, put, delete ---------------------------------------------------------------------- */

static void batch_is_applied_in_order(void **state)
{
    struct store *store = stores_open(*state);
    struct store_batch *batch = store_batch_new();
    cleanup_buf struct buf buf = {0};

    store_batch_put(batch, bytes_of_string("a"), bytes_of_string("1"));
    store_batch_put(batch, bytes_of_string("a"), bytes_of_string("2"));
    store_batch_put(batch, bytes_of_string("b"), bytes_of_string("3"));
    store_batch_delete(batch, bytes_of_string("b"));
    store_batch_put(batch, bytes_of("\0\xff", 2), bytes_of(NULL, 0));
    assert_int_equal(store_commit(store, batch, STORE_UNSYNCED), 0);
    assert_true(stores_has(store, "a", "2"));
    assert_int_equal(store_get(store, bytes_of_string("b"), &buf), -ENOENT);
    assert_int_equal(buf.size, 0);
    buf_append(&buf, "before ", 7);
    assert_int_equal(store_get(store, bytes_of_string("a"), &buf), 0);
    assert_memory_equal(buf.data, "before 2", 8);
    assert_int_equal(store_get(store, bytes_of("\0\xff", 2), &buf), 0);
    assert_int_equal(buf.size, 8);
    assert_int_equal(store_commit(store, store_batch_new(), STORE_SYNCED), 0);
    store_batch_free(store_batch_new());
    store_close(store);
}

struct committer {
    struct store *store;
    unsigned number;
    int failures;
};

static void *commit_many(void *arg)
{
    struct committer *committer = arg;

    for (unsigned i = 0; i < COMMITS; i++) {
        char key[32];
        struct store_batch *batch = store_batch_new();

        (void)snprintf(key, sizeof(key), "%02u/%03u", committer->number, i);
        store_batch_put(batch, bytes_of_string(key), bytes_of_string("x"));
        (void)snprintf(key, sizeof(key), "last/%02u", committer->number);
        store_batch_put(batch, bytes_of_string(key), bytes_of(&i, sizeof(i)));
        if (store_commit(committer->store, batch, i % 3 ? STORE_UNSYNCED : STORE_SYNCED) != 0)
            committer->failures++;
    }
    return NULL;
}

static bool count_one(void *arg, struct bytes key, struct bytes value)
{
    (void)key;
    (void)value;
    (*(unsigned *)arg)++;
    return true;
}

static void concurrent_commits_are_all_applied(void **state)
{
    struct store *store = stores_open(*state);
    struct committer committers[THREADS];
    pthread_t threads[THREADS];
    unsigned count = 0;

    for (unsigned i = 0; i < THREADS; i++) {
        committers[i] = (struct committer){.store = store, .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, commit_many, &committers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        (void)pthread_join(threads[i], NULL);
        assert_int_equal(committers[i].failures, 0);
    }
    assert_int_equal(
        store_scan(store, bytes_of(NULL, 0), bytes_of(NULL, 0), STORE_ASCENDING, count_one, &count),
        0);
    assert_int_equal(count, THREADS * COMMITS + THREADS);
    for (unsigned i = 0; i < THREADS; i++) {
        cleanup_buf struct buf buf = {0};
        char key[16];
        unsigned last;

        (void)snprintf(key, sizeof(key), "last/%02u", i);
        assert_int_equal(store_get(store, bytes_of_string(key), &buf), 0);
        memcpy(&last, buf.data, sizeof(last));
        assert_int_equal(last, COMMITS - 1);
    }
    store_close(store);
}

/* --- scans --------------------------------------------------------------------------------- */

struct seen {
    char text[128];
    size_t stop_after;
    size_t count;
};

static bool note_key(void *arg, struct bytes key, struct bytes value)
{
    struct seen *seen = arg;
    size_t at = strlen(seen->text);

    for (size_t i = 0; i < key.size; i++)
        at += (size_t)snprintf(seen->text + at, sizeof(seen->text) - at, "%c",
                               key.data[i] == 0xff ? '!' : key.data[i]);
    (void)snprintf(seen->text + at, sizeof(seen->text) - at, "%.*s ", (int)value.size, value.data);
    return ++seen->count != seen->stop_after;
}

struct scan_case {
    const char *prefix;
    const char *start;
    enum store_order order;
    size_t stop_after;
    const char *expected;
};

/* Keys are a, ab, ab1, ab!, ac, b, !, !!, !!x, where ! stands for a byte 0xff. */
static const struct scan_case scan_cases[] = {
    {"", "", STORE_ASCENDING, 0, "a ab ab1 ab! ac b ! !! !!x "},
    {"", "", STORE_DESCENDING, 0, "!!x !! ! b ac ab! ab1 ab a "},
    {"ab", "", STORE_ASCENDING, 0, "ab ab1 ab! "},
    {"ab", "", STORE_DESCENDING, 0, "ab! ab1 ab "},
    {"ab", "ab1", STORE_ASCENDING, 0, "ab1 ab! "},
    {"ab", "ab1", STORE_DESCENDING, 0, "ab1 ab "},
    {"ab", "ab0", STORE_ASCENDING, 0, "ab1 ab! "},
    {"ab", "ab2", STORE_DESCENDING, 0, "ab1 ab "},
    {"ab", "a", STORE_ASCENDING, 0, "ab ab1 ab! "},
    {"ab", "a", STORE_DESCENDING, 0, ""},
    {"ab", "ac", STORE_ASCENDING, 0, ""},
    {"ab", "b", STORE_DESCENDING, 0, "ab! ab1 ab "},
    {"ab\xff", "", STORE_ASCENDING, 0, "ab! "},
    {"ab\xff", "", STORE_DESCENDING, 0, "ab! "},
    {"\xff", "", STORE_ASCENDING, 0, "! !! !!x "},
    {"\xff", "", STORE_DESCENDING, 0, "!!x !! ! "},
    {"\xff\xff", "", STORE_DESCENDING, 0, "!!x !! "},
    {"\xff\xff", "\xff\xff", STORE_DESCENDING, 0, "!! "},
    {"\xff\xff\xff", "", STORE_DESCENDING, 0, ""},
    {"b", "", STORE_DESCENDING, 0, "b "},
    {"c", "", STORE_ASCENDING, 0, ""},
    {"c", "", STORE_DESCENDING, 0, ""},
    {"", "", STORE_ASCENDING, 2, "a ab "},
    {"", "b", STORE_DESCENDING, 3, "b ac ab! "},
};

static void scans_keep_order_and_bounds(void **state)
{
    static const char *const keys[] = {"b",   "a",        "ab\xff",    "ac",  "ab",
                                       "ab1", "\xff\xff", "\xff\xffx", "\xff"};
    struct store *store = stores_open(*state);

    for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
        assert_int_equal(stores_put(store, keys[i], "", STORE_UNSYNCED), 0);
    for (size_t i = 0; i < sizeof(scan_cases) / sizeof(*scan_cases); i++) {
        const struct scan_case *test = &scan_cases[i];
        struct seen seen = {.stop_after = test->stop_after};

        assert_int_equal(store_scan(store, bytes_of_string(test->prefix),
                                    bytes_of_string(test->start), test->order, note_key, &seen),
                         0);
        if (strcmp(seen.text, test->expected) != 0)
            fail_msg("case %zu: \"%s\" instead of \"%s\"", i, seen.text, test->expected);
    }
    store_close(store);
}

struct changing {
    struct store *store;
    unsigned seen;
};

static void *change(void *store)
{
    struct store_batch *batch = store_batch_new();

    store_batch_put(batch, bytes_of_string("k5"), bytes_of_string("new"));
    store_batch_delete(batch, bytes_of_string("k3"));
    assert_int_equal(store_commit(store, batch, STORE_UNSYNCED), 0);
    return NULL;
}

static bool write_while_scanning(void *arg, struct bytes key, struct bytes value)
{
    struct changing *changing = arg;
    pthread_t thread;

    (void)key;
    (void)value;
    if (changing->seen++ == 0) {
        assert_int_equal(pthread_create(&thread, NULL, change, changing->store), 0);
        (void)pthread_join(thread, NULL);
    }
    return true;
}

static void scan_sees_one_moment(void **state)
{
    struct changing changing = {.store = stores_open(*state)};
    unsigned count = 0;

    for (const char *key = "k1\0k2\0k3\0"; *key; key += 3)
        assert_int_equal(stores_put(changing.store, key, "v", STORE_UNSYNCED), 0);
    assert_int_equal(store_scan(changing.store, bytes_of_string("k"), bytes_of(NULL, 0),
                                STORE_ASCENDING, write_while_scanning, &changing),
                     0);
    assert_int_equal(changing.seen, 3);
    assert_int_equal(store_scan(changing.store, bytes_of_string("k"), bytes_of(NULL, 0),
                                STORE_ASCENDING, count_one, &count),
                     0);
    assert_int_equal(count, 3);
    assert_true(stores_has(changing.store, "k5", "new"));
    store_close(changing.store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORES_TEST(acknowledged_commits_survive_kill), /* first: it forks, the others start threads
                                                         */
        STORES_TEST(second_opener_is_refused),
        STORES_TEST(unusable_directory_is_an_error),
        STORES_TEST(batch_is_applied_in_order),
        STORES_TEST(concurrent_commits_are_all_applied),
        STORES_TEST(scans_keep_order_and_bounds),
        STORES_TEST(scan_sees_one_moment),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
