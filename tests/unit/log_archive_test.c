/* An ended log that was compressed reads as before, and is never gone while it is compressed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/log/private.h"
#include "server/util/limits.h"
#include "tests/unit/tempdir.h"

#define NAME "cmd_01hz"
#define SEED 20250303U
#define MANY 400 /* frames: some blocks of an archive */

static struct log_path paths(const char *directory)
{
    struct log_path path;

    assert_int_equal(log_path_make(directory, NAME, &path), 0);
    return path;
}

static bool exists(const char *path)
{
    struct stat status;

    return lstat(path, &status) == 0;
}

static off_t file_size(const char *path)
{
    struct stat status;

    assert_int_equal(stat(path, &status), 0);
    return status.st_size;
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

static struct log *reopen(const char *directory)
{
    struct log *log = NULL;

    assert_int_equal(log_open(directory, NAME, &log, NULL), 0);
    return log;
}

static int compress(const char *directory)
{
    static const atomic_bool never;

    return log_compress(directory, NAME, &never);
}

static void append_lines(struct log *log, unsigned frames)
{
    static char data[LIMIT_LOG_FRAME];
    unsigned seed = SEED;

    for (unsigned i = 0; i < frames; i++) {
        size_t size = 1 + (size_t)rand_r(&seed) % 5000;

        for (size_t b = 0; b < size; b++)
            data[b] = rand_r(&seed) % 40 ? "abcd"[rand_r(&seed) % 4] : '\n';
        assert_int_equal(log_append(log, i % 5 ? LOG_STDOUT : LOG_STDERR, i, bytes_of(data, size)),
                         0);
    }
}

static void write_ended(const char *directory, unsigned frames)
{
    struct log *log = NULL;

    assert_int_equal(log_create(directory, NAME, &log, NULL), 0);
    append_lines(log, frames);
    assert_int_equal(log_end(log), 0);
    log_unref(log);
}

/* Frame by frame, from the offset on; of one stream or of all. */
static void assert_same_from(struct log *plain, struct log *other, uint64_t offset,
                             enum log_stream only)
{
    struct log_reader *readers[2] = {NULL};
    struct log_frame frames[2] = {0};
    int results[2];

    assert_int_equal(log_reader_new(plain, offset, NULL, NULL, &readers[0]), 0);
    assert_int_equal(log_reader_new(other, offset, NULL, NULL, &readers[1]), 0);
    for (int i = 0; only && i < 2; i++)
        log_reader_choose(readers[i], only);
    do {
        for (int i = 0; i < 2; i++)
            results[i] = log_reader_next(readers[i], &frames[i]);
        assert_int_equal(results[0], results[1]);
        assert_int_equal(frames[0].offset, frames[1].offset);
        assert_int_equal(frames[0].stream, frames[1].stream);
        assert_int_equal(frames[0].time_us, frames[1].time_us);
        assert_int_equal(frames[0].gap_end, frames[1].gap_end);
        assert_int_equal(frames[0].gap_reason, frames[1].gap_reason);
        assert_int_equal(frames[0].payload.size, frames[1].payload.size);
        if (results[0] == 1 && frames[0].payload.size > 0)
            assert_memory_equal(frames[0].payload.data, frames[1].payload.data,
                                frames[0].payload.size);
    } while (results[0] == 1);
    assert_int_equal(results[0], 0);
    log_reader_free(readers[0]);
    log_reader_free(readers[1]);
}

static void assert_same(struct log *plain, struct log *other)
{
    unsigned seed = SEED;

    assert_true(log_ended(other));
    assert_int_equal(log_size(other), log_size(plain));
    assert_same_from(plain, other, 0, 0);
    assert_same_from(plain, other, log_size(plain), 0);
    for (unsigned i = 0; i < 30; i++)
        assert_same_from(plain, other, (uint64_t)rand_r(&seed) % log_size(plain), i % 3);
    for (unsigned count = 1; count < LOG_TAIL_LINES; count *= 7) {
        uint64_t offsets[2];

        assert_int_equal(log_tail_lines(plain, count, 0, &offsets[0]), 0);
        assert_int_equal(log_tail_lines(other, count, 0, &offsets[1]), 0);
        assert_int_equal(offsets[0], offsets[1]);
    }
}

static void an_archive_reads_as_the_log_did(void **state)
{
    struct log_path path = paths(*state);

    write_ended(*state, MANY);
    off_t before = file_size(path.file);
    struct log *plain = reopen(*state);

    assert_int_equal(compress(*state), 0);
    assert_true(file_size(path.archive) < before / 2);
    assert_false(exists(path.file));
    assert_false(exists(path.unfinished));
    /* Who has had it open goes on, which is what there is to compare with. */
    for (int pass = 0; pass < 2; pass++) {
        struct log *archive = reopen(*state);

        assert_non_null(archive->archive);
        assert_same(plain, archive);
        assert_int_equal(log_append(archive, LOG_STDOUT, 1, bytes_of("x", 1)), -EPIPE);
        assert_int_equal(log_end(archive), 0);
        log_unref(archive);
        assert_int_equal(compress(*state), 0);
    }
    log_unref(plain);
}

/* One that its writer has left without an end gets it: nobody else will come to end it. */
static void damaged_or_running_logs_are_left(void **state)
{
    struct log_path path = paths(*state);
    struct log *log = NULL;

    assert_int_equal(compress(*state), -ENOENT);
    assert_int_equal(log_create(*state, NAME, &log, NULL), 0);
    append_lines(log, MANY / 10);
    assert_int_equal(compress(*state), -EBUSY);
    assert_int_equal(log_append(log, LOG_STDOUT, 1, bytes_of("x", 1)), 0);
    log_unref(log);
    off_t size = file_size(path.file);

    flip_byte(path.file, FILE_HEADER + 1);
    assert_int_equal(compress(*state), -EUCLEAN);
    flip_byte(path.file, FILE_HEADER + 1);
    assert_int_equal(file_size(path.file), size);
    assert_false(exists(path.archive));
    assert_false(exists(path.unfinished));
    assert_int_equal(compress(*state), 0);
    log = reopen(*state);
    assert_non_null(log->archive);
    assert_true(log_ended(log));
    log_unref(log);
}

static void who_is_told_to_stop_does(void **state)
{
    static const atomic_bool now = true;
    struct log_path path = paths(*state);

    write_ended(*state, MANY);
    assert_int_equal(log_compress(*state, NAME, &now), -ECANCELED);
    assert_true(exists(path.file));
    assert_false(exists(path.archive));
    assert_false(exists(path.unfinished));
}

static void a_small_log_is_left(void **state)
{
    struct log_path path = paths(*state);

    write_ended(*state, 1);
    assert_int_equal(compress(*state), 0);
    assert_true(exists(path.file));
    assert_false(exists(path.archive));
}

/*
 * Runs it in a process of its own, which is killed as it enters or leaves its n-th system call.
 * Returns false when it ended before.
 */
static bool kill_at_stop(const char *directory, unsigned n)
{
    pid_t pid = fork();
    int status = 0;

    assert_true(pid >= 0);
    if (pid == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0 || raise(SIGSTOP) != 0)
            _exit(100);
        _exit(-compress(directory));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSTOPPED(status));
    for (unsigned stop = 0; stop < n; stop++) {
        assert_int_equal(ptrace(PTRACE_SYSCALL, pid, NULL, NULL), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (WIFEXITED(status)) {
            assert_int_equal(WEXITSTATUS(status), 0);
            return false;
        }
    }
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    return true;
}

static void kills_at_any_step_lose_nothing(void **state)
{
    struct log_path path = paths(*state);
    bool killed = true;
    bool seen_both = false;
    unsigned n = 1;

    for (; killed; n++) {
        write_ended(*state, MANY / 10);
        struct log *plain = reopen(*state);

        killed = kill_at_stop(*state, n);
        seen_both = seen_both || (exists(path.file) && exists(path.archive));
        struct log *now = reopen(*state);

        assert_same_from(plain, now, 0, 0);
        log_unref(now);
        assert_int_equal(compress(*state), 0);
        assert_false(exists(path.file));
        assert_false(exists(path.unfinished));
        now = reopen(*state);
        assert_same_from(plain, now, 0, 0);
        log_unref(now);
        log_unref(plain);
        assert_int_equal(log_remove(*state, NAME), 0);
        assert_false(exists(path.archive));
    }
    assert_true(n > 20);
    assert_true(seen_both);
}

/* The reader's last answer. */
static int read_all(struct log *log)
{
    struct log_reader *reader = NULL;
    struct log_frame frame;
    int result;

    assert_int_equal(log_reader_new(log, 0, NULL, NULL, &reader), 0);
    do {
        result = log_reader_next(reader, &frame);
    } while (result == 1);
    log_reader_free(reader);
    return result;
}

/* Wherever it is: at opening, or by the reader that comes to it. */
static void damage_is_found(void **state)
{
    struct log_path path = paths(*state);

    write_ended(*state, MANY / 10);
    assert_int_equal(compress(*state), 0);
    off_t size = file_size(path.archive);

    for (off_t at = 0; at < size; at += at < size - 300 ? 97 : 1) {
        struct log *log = NULL;

        flip_byte(path.archive, at);
        int result = log_open(*state, NAME, &log, NULL);

        if (result == 0) {
            result = read_all(log);
            log_unref(log);
        }
        assert_int_equal(result, -EUCLEAN);
        flip_byte(path.archive, at);
    }
    assert_int_equal(truncate(path.archive, size - 1), 0);
    struct log *log = NULL;

    assert_int_equal(log_open(*state, NAME, &log, NULL), -EUCLEAN);
    assert_int_equal(truncate(path.archive, 0), 0);
    assert_int_equal(log_open(*state, NAME, &log, NULL), -EUCLEAN);
    assert_null(log);
}

static void both_forms_are_removed(void **state)
{
    struct log_path path = paths(*state);

    write_ended(*state, MANY / 10);
    assert_int_equal(compress(*state), 0);
    write_ended(*state, MANY / 10);
    int fd = open(path.unfinished, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    (void)close(fd);
    assert_int_equal(log_remove(*state, NAME), 0);
    assert_false(exists(path.file));
    assert_false(exists(path.archive));
    assert_false(exists(path.unfinished));
    assert_int_equal(log_remove(*state, NAME), -ENOENT);
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
        TEST(an_archive_reads_as_the_log_did), TEST(damaged_or_running_logs_are_left),
        TEST(who_is_told_to_stop_does),        TEST(a_small_log_is_left),
        TEST(kills_at_any_step_lose_nothing),  TEST(damage_is_found),
        TEST(both_forms_are_removed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
