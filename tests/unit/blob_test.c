/* Blobs: named by their content, whole or not there. */
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
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/artifact/blob.h"
#include "server/util/buf.h"
#include "tests/unit/tempdir.h"

#define THREADS 8
#define NO_LIMIT UINT64_MAX

/* Of "abc" and of nothing, from FIPS 180-2. */
#define ABC "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define EMPTY "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static struct blob_store *open_store(const char *directory)
{
    struct blob_store *store = NULL;
    struct err err = {0};

    if (blob_store_open(directory, &store, &err) != 0)
        fail_msg("%s", err.message);
    return store;
}

static int file_of(const void *data, size_t size)
{
    int fd = memfd_create("blob-test", MFD_CLOEXEC);

    assert_int_equal(write(fd, data, size), size);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

static int put(struct blob_store *store, const void *data, size_t size, uint64_t limit,
               char digest[BLOB_DIGEST_SIZE])
{
    uint64_t stored = 0;
    int fd = file_of(data, size);
    int result = blob_put(store, fd, limit, digest, &stored, NULL);

    (void)close(fd);
    if (result == 0)
        assert_int_equal(stored, size);
    return result;
}

static void assert_content(struct blob_store *store, const char *digest, const void *data,
                           size_t size)
{
    cleanup_buf struct buf content = {0};
    int fd = blob_open(store, digest);

    assert_true(fd >= 0);
    buf_reserve(&content, size + 1);
    ssize_t got = read(fd, content.data, size + 1);

    assert_int_equal(got, size);
    if (size)
        assert_memory_equal(content.data, data, size);
    assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    (void)close(fd);
}

static unsigned entries(const char *directory, const char *name)
{
    char *path = NULL;
    unsigned count = 0;

    assert_true(asprintf(&path, "%s/%s", directory, name) > 0);
    DIR *dir = opendir(path);

    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));)
        count += entry->d_name[0] != '.';
    (void)closedir(dir);
    free(path);
    return count;
}

static void content_is_found_by_its_digest(void **state)
{
    struct blob_store *store = open_store(*state);
    char digest[BLOB_DIGEST_SIZE];
    static uint8_t large[1000003];

    assert_int_equal(put(store, "abc", 3, NO_LIMIT, digest), 0);
    assert_string_equal(digest, ABC);
    assert_content(store, ABC, "abc", 3);
    assert_int_equal(put(store, "", 0, 0, digest), 0);
    assert_string_equal(digest, EMPTY);
    assert_content(store, EMPTY, "", 0);
    for (size_t i = 0; i < sizeof(large); i++)
        large[i] = (uint8_t)(i * i >> 7);
    assert_int_equal(put(store, large, sizeof(large), sizeof(large), digest), 0);
    assert_content(store, digest, large, sizeof(large));
    blob_store_close(store);

    store = open_store(*state);
    assert_content(store, ABC, "abc", 3);
    assert_content(store, digest, large, sizeof(large));
    assert_int_equal(entries(*state, "tmp"), 0);
    blob_store_close(store);
}

static void same_content_is_kept_once(void **state)
{
    struct blob_store *store = open_store(*state);
    char digest[BLOB_DIGEST_SIZE];
    struct stat first;
    struct stat second;
    int fd;

    assert_int_equal(put(store, "abc", 3, NO_LIMIT, digest), 0);
    fd = blob_open(store, ABC);
    assert_int_equal(fstat(fd, &first), 0);
    (void)close(fd);
    assert_int_equal(put(store, "abc", 3, NO_LIMIT, digest), 0);
    assert_string_equal(digest, ABC);
    fd = blob_open(store, ABC);
    assert_int_equal(fstat(fd, &second), 0);
    (void)close(fd);
    assert_int_equal(first.st_ino, second.st_ino);
    assert_int_equal(second.st_nlink, 1);
    assert_int_equal(second.st_mode & 0777, 0400);
    assert_int_equal(entries(*state, "sha256/ba"), 1);
    blob_store_close(store);
}

static void limit_is_exact_and_leaves_nothing(void **state)
{
    struct blob_store *store = open_store(*state);
    char digest[BLOB_DIGEST_SIZE] = "untouched";
    static char data[300000];
    struct err err = {0};
    uint64_t size = 42;
    int fd = file_of(data, sizeof(data));

    assert_int_equal(blob_put(store, fd, sizeof(data) - 1, digest, &size, &err), -EFBIG);
    (void)close(fd);
    assert_non_null(strstr(err.message, "299999"));
    assert_string_equal(digest, "untouched");
    assert_int_equal(size, 42);
    assert_int_equal(entries(*state, "tmp"), 0);
    assert_int_equal(put(store, data, sizeof(data), sizeof(data), digest), 0);
    blob_store_close(store);
}

/* The pipe's other end writes for ever: the size that stat saw would not have told. */
static void *write_for_ever(void *arg)
{
    static const char data[4096];
    int fd = *(int *)arg;

    while (write(fd, data, sizeof(data)) > 0)
        ;
    return NULL;
}

static void growing_file_ends_at_the_limit(void **state)
{
    struct blob_store *store = open_store(*state);
    char digest[BLOB_DIGEST_SIZE];
    uint64_t size;
    pthread_t writer;
    int ends[2];

    (void)signal(SIGPIPE, SIG_IGN);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(pthread_create(&writer, NULL, write_for_ever, &ends[1]), 0);
    assert_int_equal(blob_put(store, ends[0], 5 << 20, digest, &size, NULL), -EFBIG);
    (void)close(ends[0]);
    (void)pthread_join(writer, NULL);
    (void)close(ends[1]);
    assert_int_equal(entries(*state, "tmp"), 0);
    blob_store_close(store);
}

static void full_disk_leaves_nothing(void **state)
{
    struct blob_store *store = open_store(*state);
    char digest[BLOB_DIGEST_SIZE];
    static char data[300000];
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    struct rlimit small = {.rlim_cur = 200000, .rlim_max = limit.rlim_max};
    int fd = file_of(data, sizeof(data));
    uint64_t size;

    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int result = blob_put(store, fd, NO_LIMIT, digest, &size, NULL);

    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    (void)close(fd);
    assert_int_equal(result, -EFBIG);
    assert_int_equal(entries(*state, "tmp"), 0);
    blob_store_close(store);
}

struct putter {
    struct blob_store *store;
    const char *data;
    size_t size;
    int result;
    char digest[BLOB_DIGEST_SIZE];
};

static void *put_one(void *arg)
{
    struct putter *putter = arg;

    putter->result = put(putter->store, putter->data, putter->size, NO_LIMIT, putter->digest);
    return NULL;
}

static void concurrent_puts_of_one_content_all_succeed(void **state)
{
    struct blob_store *store = open_store(*state);
    struct putter putters[THREADS];
    pthread_t threads[THREADS];
    static char data[200000];

    for (int i = 0; i < THREADS; i++) {
        putters[i] = (struct putter){.store = store, .data = data, .size = sizeof(data)};
        assert_int_equal(pthread_create(&threads[i], NULL, put_one, &putters[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        (void)pthread_join(threads[i], NULL);
        assert_int_equal(putters[i].result, 0);
        assert_string_equal(putters[i].digest, putters[0].digest);
    }
    assert_content(store, putters[0].digest, data, sizeof(data));
    assert_int_equal(entries(*state, "tmp"), 0);
    blob_store_close(store);
}

static void leftovers_of_a_crash_are_removed(void **state)
{
    struct blob_store *store = open_store(*state);
    char digest[BLOB_DIGEST_SIZE];
    char *path = NULL;

    assert_int_equal(put(store, "abc", 3, NO_LIMIT, digest), 0);
    blob_store_close(store);
    assert_true(asprintf(&path, "%s/tmp/unfinished", (char *)*state) > 0);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    assert_int_equal(write(fd, "half", 4), 4);
    (void)close(fd);
    assert_int_equal(entries(*state, "tmp"), 1);
    store = open_store(*state);
    assert_int_equal(entries(*state, "tmp"), 0);
    assert_content(store, ABC, "abc", 3);
    blob_store_close(store);
    free(path);
}

static void bad_digests_are_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "sha256:",
        "sha512:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015a",
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad0",
        "sha256:BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD",
        "sha256:../../../../../../../../../../../../../../../../../../../etc/pass",
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015a/",
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad/",
    };
    struct blob_store *store = open_store(*state);
    char digest[BLOB_DIGEST_SIZE];

    assert_int_equal(blob_open(store, ABC), -ENOENT);
    assert_int_equal(put(store, "abc", 3, NO_LIMIT, digest), 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_int_equal(blob_open(store, bad[i]), -EINVAL);
    blob_store_close(store);
}

static void unreadable_source_is_an_error(void **state)
{
    struct blob_store *store = open_store(*state);
    char digest[BLOB_DIGEST_SIZE];
    struct err err = {0};
    uint64_t size;
    int fd = open(*state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    assert_int_equal(blob_put(store, fd, NO_LIMIT, digest, &size, &err), -EISDIR);
    assert_int_equal(err.code, EISDIR);
    (void)close(fd);
    assert_int_equal(entries(*state, "tmp"), 0);
    blob_store_close(store);
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
        TEST(content_is_found_by_its_digest),    TEST(same_content_is_kept_once),
        TEST(limit_is_exact_and_leaves_nothing), TEST(growing_file_ends_at_the_limit),
        TEST(full_disk_leaves_nothing),          TEST(concurrent_puts_of_one_content_all_succeed),
        TEST(leftovers_of_a_crash_are_removed),  TEST(bad_digests_are_refused),
        TEST(unreadable_source_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
