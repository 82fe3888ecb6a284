/* The database: what is acknowledged stays, scans come in order, damage is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/store/store.h"
#include "tests/unit/tempdir.h"

#define KILL_ROUNDS 6
#define KILL_THREADS 4
#define ACKNOWLEDGED_MIN 300
#define THREADS 16
#define COMMITS 50

#ifdef __SANITIZE_THREAD__
/* Debian's RocksDB is not built for ThreadSanitizer, which therefore misses what orders its
 * threads. */
const char *__tsan_default_suppressions(void);

const char *__tsan_default_suppressions(void)
{
    return "race:librocksdb.so\ncalled_from_lib:librocksdb.so\n";
}
#endif

static struct store *open_store(const char *directory)
{
    struct store *store = NULL;
    struct err err = {0};

    if (store_open(directory, &store, &err) != 0)
        fail_msg("%s", err.message);
    return store;
}

static int put(struct store *store, const char *key, const char *value, enum store_sync sync)
{
    struct store_batch *batch = store_batch_new();

    store_batch_put(batch, bytes_of_string(key), bytes_of_string(value));
    return store_commit(store, batch, sync);
}

static bool has(struct store *store, const char *key, const char *value)
{
    cleanup_buf struct buf buf = {0};

    return store_get(store, bytes_of_string(key), &buf) == 0 && buf.size == strlen(value) &&
           memcmp(buf.data, value, buf.size) == 0;
}

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

/* --- damage -------------------------------------------------------------------------------- */

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
    struct store *store = open_store(directory);

    for (unsigned i = 0; i < keys; i++) {
        char key[16];

        (void)snprintf(key, sizeof(key), "key%u", i);
        assert_int_equal(put(store, key, "a value that can be damaged", STORE_SYNCED), 0);
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
    struct store *store = open_store(*state);

    assert_true(has(store, "key99", "a value that can be damaged"));
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
    struct store *store = open_store(*state);

    assert_true(has(store, "key9", "a value that can be damaged"));
    assert_int_equal(put(store, "after", "it", STORE_SYNCED), 0);
    store_close(store);
    store = open_store(*state);
    assert_true(has(store, "after", "it"));
    store_close(store);
    free(wal);
}

static void second_opener_is_refused(void **state)
{
    struct store *store = open_store(*state);
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
    struct store *store = open_store(*state);
    struct store_batch *batch = store_batch_new();
    cleanup_buf struct buf buf = {0};

    store_batch_put(batch, bytes_of_string("a"), bytes_of_string("1"));
    store_batch_put(batch, bytes_of_string("a"), bytes_of_string("2"));
    store_batch_put(batch, bytes_of_string("b"), bytes_of_string("3"));
    store_batch_delete(batch, bytes_of_string("b"));
    store_batch_put(batch, bytes_of("\0\xff", 2), bytes_of(NULL, 0));
    assert_int_equal(store_commit(store, batch, STORE_UNSYNCED), 0);
    assert_true(has(store, "a", "2"));
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
    struct store *store = open_store(*state);
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

/* A limit on file sizes stands for the full disk. */
static void first_write_error_is_final(void **state)
{
    struct store *store = open_store(*state);
    struct rlimit limit;
    static char value[64 << 10];
    struct store_batch *batch = store_batch_new();

    assert_int_equal(put(store, "before", "it", STORE_SYNCED), 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    struct rlimit small = {.rlim_cur = 4096, .rlim_max = limit.rlim_max};

    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    store_batch_put(batch, bytes_of_string("large"), bytes_of(value, sizeof(value)));
    assert_int_equal(store_commit(store, batch, STORE_SYNCED), -EIO);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);

    assert_int_equal(put(store, "after", "it", STORE_SYNCED), -EIO);
    assert_int_equal(put(store, "after", "it", STORE_UNSYNCED), -EIO);
    assert_true(has(store, "before", "it"));
    assert_false(has(store, "after", "it"));
    store_close(store);
    store = open_store(*state);
    assert_true(has(store, "before", "it"));
    assert_int_equal(put(store, "after", "it", STORE_SYNCED), 0);
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
    struct store *store = open_store(*state);

    for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
        assert_int_equal(put(store, keys[i], "", STORE_UNSYNCED), 0);
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

static bool write_while_scanning(void *arg, struct bytes key, struct bytes value)
{
    struct changing *changing = arg;

    (void)key;
    (void)value;
    if (changing->seen++ == 0) {
        assert_int_equal(put(changing->store, "k5", "new", STORE_UNSYNCED), 0);
        struct store_batch *batch = store_batch_new();

        store_batch_delete(batch, bytes_of_string("k3"));
        assert_int_equal(store_commit(changing->store, batch, STORE_UNSYNCED), 0);
    }
    return true;
}

static void scan_sees_one_moment(void **state)
{
    struct changing changing = {.store = open_store(*state)};
    unsigned count = 0;

    for (const char *key = "k1\0k2\0k3\0"; *key; key += 3)
        assert_int_equal(put(changing.store, key, "v", STORE_UNSYNCED), 0);
    assert_int_equal(store_scan(changing.store, bytes_of_string("k"), bytes_of(NULL, 0),
                                STORE_ASCENDING, write_while_scanning, &changing),
                     0);
    assert_int_equal(changing.seen, 3);
    assert_int_equal(store_scan(changing.store, bytes_of_string("k"), bytes_of(NULL, 0),
                                STORE_ASCENDING, count_one, &count),
                     0);
    assert_int_equal(count, 3);
    assert_true(has(changing.store, "k5", "new"));
    store_close(changing.store);
}

static int make_tempdir(void **state)
{
    *state = tempdir_new();
    return 0;
}

static int remove_tempdir(void **state)
{
    tempdir_free(*state);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_tempdir, remove_tempdir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(acknowledged_commits_survive_kill), /* first: it forks, the others start threads */
        TEST(damaged_wal_is_refused),
        TEST(lost_acknowledged_tail_is_refused),
        TEST(unacknowledged_tail_is_dropped),
        TEST(second_opener_is_refused),
        TEST(unusable_directory_is_an_error),
        TEST(batch_is_applied_in_order),
        TEST(concurrent_commits_are_all_applied),
        TEST(first_write_error_is_final),
        TEST(scans_keep_order_and_bounds),
        TEST(scan_sees_one_moment),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
