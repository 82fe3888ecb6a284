/*
 * From a pipe into a log: nothing lost and nothing twice, whenever the process is killed; no wait,
 * whatever the pipe's flags are; gaps for what cannot be kept, and output again behind them.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/log/private.h"
#include "server/util/limits.h"
#include "tests/unit/tempdir.h"

#define NAME "cmd_splice"
#define KILLS 300
#define CRASH_BYTES (64U << 20)

static int pipe_ends[2];

static void open_pipe(void)
{
    assert_int_equal(pipe2(pipe_ends, O_CLOEXEC), 0);
}

static void put(const void *data, size_t size)
{
    assert_int_equal(write(pipe_ends[1], data, size), (ssize_t)size);
}

static int64_t take(struct log *log)
{
    return log_splice(log, LOG_STDOUT, 1, pipe_ends[0]);
}

static struct log *create(const char *directory)
{
    struct log *log = NULL;

    assert_int_equal(log_create(directory, NAME, &log, NULL), 0);
    return log;
}

/* What the log holds from its beginning on, gaps left out; freed by the caller. */
static char *content(struct log *log, size_t *ret_frames)
{
    struct log_reader *reader;
    struct log_frame frame;
    uint64_t offset = 0;
    size_t size = 0;
    char *text = calloc(1, log_size(log) + 1);

    *ret_frames = 0;
    assert_int_equal(log_reader_new(log, 0, NULL, NULL, &reader), 0);
    while (log_reader_next(reader, &frame) > 0) {
        assert_int_equal(frame.offset, offset);
        if (frame.stream == LOG_GAP) {
            offset = frame.gap_end;
            continue;
        }
        memcpy(text + size, frame.payload.data, frame.payload.size);
        size += frame.payload.size;
        offset += frame.payload.size;
        (*ret_frames)++;
    }
    log_reader_free(reader);
    return text;
}

static void what_is_in_the_pipe_is_in_the_log(void **state)
{
    struct log *log = create(*state);
    size_t frames;

    open_pipe();
    assert_int_equal(take(log), -EAGAIN);
    put("hello ", 6);
    assert_int_equal(take(log), 6);
    assert_int_equal(take(log), -EAGAIN);
    put("wor", 3);
    put("ld", 2);
    assert_int_equal(log_splice(log, LOG_STDERR, 1, pipe_ends[0]), 5);
    (void)close(pipe_ends[1]);
    assert_int_equal(take(log), 0);
    assert_int_equal(log_size(log), 11);
    char *text = content(log, &frames);

    assert_string_equal(text, "hello world");
    assert_int_equal(frames, 2);
    free(text);
    assert_int_equal(log_end(log), 0);
    assert_int_equal(take(log), 0);
    log_unref(log);
    (void)close(pipe_ends[0]);
}

/* And the descriptor's own flag is that of a pipe that waits. */
static void single_bytes_make_one_frame(void **state)
{
    struct log *log = create(*state);
    size_t frames;

    open_pipe();
    for (int i = 0; i < 1000; i++)
        put("x", 1);
    assert_int_equal(fcntl(pipe_ends[0], F_GETFL) & O_NONBLOCK, 0);
    assert_int_equal(take(log), 1000);
    assert_int_equal(take(log), -EAGAIN);
    char *text = content(log, &frames);

    assert_int_equal(strlen(text), 1000);
    assert_int_equal(frames, 1);
    free(text);
    log_unref(log);
    (void)close(pipe_ends[0]);
    (void)close(pipe_ends[1]);
}

static void beyond_the_limit_the_writer_goes_on(void **state)
{
    static char block[LIMIT_LOG_FRAME];
    struct log *log = NULL;
    struct log_reader *reader;
    struct log_frame frame;

    assert_int_equal(log_create_limited(*state, NAME, 3 * LIMIT_LOG_FRAME, &log, NULL), 0);
    open_pipe();
    for (int i = 0; i < 20; i++) {
        put(block, sizeof(block));
        assert_int_equal(take(log), sizeof(block));
    }
    assert_int_equal(log_size(log), 20 * sizeof(block));
    /* What is missing is known even if nobody comes to end the log. */
    log_unref(log);
    assert_int_equal(log_open(*state, NAME, &log, NULL), 0);
    assert_int_equal(log_size(log), 20 * sizeof(block));
    assert_int_equal(log_end(log), 0);
    assert_int_equal(log_reader_new(log, 19 * sizeof(block), NULL, NULL, &reader), 0);
    assert_int_equal(log_reader_next(reader, &frame), 1);
    assert_int_equal(frame.stream, LOG_GAP);
    assert_int_equal(frame.gap_reason, LOG_GAP_LIMIT);
    assert_int_equal(frame.gap_end, 20 * sizeof(block));
    assert_int_equal(log_reader_next(reader, &frame), 0);
    log_reader_free(reader);
    log_unref(log);
    (void)close(pipe_ends[0]);
    (void)close(pipe_ends[1]);
}

/* Returns false where it may not be done. */
static bool mount_small_disk(const char *directory)
{
    return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("small", directory, "tmpfs", 0, "size=512k") == 0;
}

static void fill_disk(const char *directory, int *ret_fd, char path[4096])
{
    static char block[4096];

    (void)snprintf(path, 4096, "%s/ballast", directory);
    *ret_fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(*ret_fd >= 0);
    while (write(*ret_fd, block, sizeof(block)) > 0)
        ;
    assert_int_equal(errno, ENOSPC);
}

static void output_is_kept_again_when_a_full_disk_has_room(void **state)
{
    static char block[16384];
    struct log_reader *reader;
    struct log_frame frame;
    char path[4096];
    int ballast;

    if (!mount_small_disk(*state)) {
        print_message("skipped, for want of a mount namespace (CAP_SYS_ADMIN)\n");
        skip();
    }
    struct log *log = create(*state);

    open_pipe();
    put("before", 6);
    assert_int_equal(take(log), 6);
    fill_disk(*state, &ballast, path);
    for (int i = 0; i < 8; i++) {
        put(block, sizeof(block));
        /* Part of it may find the last free page. */
        for (int64_t left = sizeof(block); left > 0;) {
            int64_t taken = take(log);

            assert_true(taken > 0);
            left -= taken;
        }
    }
    uint64_t missed = log_size(log);

    (void)close(ballast);
    assert_int_equal(unlink(path), 0);
    put("after", 5);
    assert_int_equal(take(log), 5);
    assert_int_equal(log_end(log), 0);
    log_unref(log);
    assert_int_equal(log_open(*state, NAME, &log, NULL), 0);
    assert_int_equal(log_reader_new(log, 0, NULL, NULL, &reader), 0);
    assert_int_equal(log_reader_next(reader, &frame), 1);
    assert_memory_equal(frame.payload.data, "before", 6);
    do {
        assert_int_equal(log_reader_next(reader, &frame), 1);
    } while (frame.stream != LOG_GAP);
    assert_int_equal(frame.gap_reason, LOG_GAP_DISK_FULL);
    assert_int_equal(frame.gap_end, missed);
    assert_int_equal(log_reader_next(reader, &frame), 1);
    assert_int_equal(frame.payload.size, 5);
    assert_memory_equal(frame.payload.data, "after", 5);
    log_reader_free(reader);
    log_unref(log);
    (void)close(pipe_ends[0]);
    (void)close(pipe_ends[1]);
    assert_int_equal(umount2(*state, MNT_DETACH), 0);
}

static void a_reader_may_choose_a_stream(void **state)
{
    struct log *log = create(*state);
    struct log_reader *reader;
    struct log_frame frame;

    assert_int_equal(log_append(log, LOG_STDOUT, 1, bytes_of("out1", 4)), 0);
    assert_int_equal(log_append(log, LOG_STDERR, 1, bytes_of("err1", 4)), 0);
    assert_int_equal(log_append(log, LOG_STDOUT, 1, bytes_of("out2", 4)), 0);
    assert_int_equal(log_append(log, LOG_STDERR, 1, bytes_of("err2", 4)), 0);
    assert_int_equal(log_reader_new(log, 2, NULL, NULL, &reader), 0);
    log_reader_choose(reader, LOG_STDERR);
    assert_int_equal(log_reader_next(reader, &frame), 1);
    assert_int_equal(frame.offset, 4);
    assert_memory_equal(frame.payload.data, "err1", 4);
    assert_int_equal(log_reader_next(reader, &frame), 1);
    assert_int_equal(frame.offset, 12);
    assert_int_equal(log_reader_next(reader, &frame), 0);
    log_reader_free(reader);
    log_unref(log);
}

/* No call of the reader takes long, however much there is of the other stream. */
static void a_reader_passes_over_much_in_parts(void **state)
{
    struct log *log = create(*state);
    struct log_reader *reader;
    struct log_frame frame;
    uint64_t tail;
    int parts = 0;
    int result;

    for (int i = 0; i < 3000; i++)
        assert_int_equal(log_append(log, LOG_STDOUT, 1, bytes_of("out\n", 4)), 0);
    assert_int_equal(log_append(log, LOG_STDERR, 1, bytes_of("err\n", 4)), 0);
    assert_int_equal(log_reader_new(log, 0, NULL, NULL, &reader), 0);
    log_reader_choose(reader, LOG_STDERR);
    while ((result = log_reader_next(reader, &frame)) == -EAGAIN)
        parts++;
    assert_int_equal(result, 1);
    assert_int_equal(frame.offset, 12000);
    assert_true(parts > 5);
    log_reader_free(reader);
    assert_int_equal(log_tail_lines(log, 1, LOG_STDERR, &tail), 0);
    assert_int_equal(tail, 12000);
    log_unref(log);
}

static void assert_tail(struct log *log, unsigned lines, enum log_stream stream, uint64_t expected)
{
    uint64_t offset;

    assert_int_equal(log_tail_lines(log, lines, stream, &offset), 0);
    assert_int_equal(offset, expected);
}

static void the_last_lines_are_found(void **state)
{
    struct log *log = create(*state);

    assert_tail(log, 3, 0, 0);
    assert_int_equal(log_append(log, LOG_STDOUT, 1, bytes_of("one\ntwo\nthr", 11)), 0);
    assert_int_equal(log_append(log, LOG_STDERR, 1, bytes_of("bad\n", 4)), 0);
    assert_int_equal(log_append(log, LOG_STDOUT, 1, bytes_of("ee\nrest", 7)), 0);
    assert_tail(log, 0, LOG_STDOUT, 22);
    assert_tail(log, 1, LOG_STDOUT, 18);
    assert_tail(log, 2, LOG_STDOUT, 8);
    assert_tail(log, 3, LOG_STDOUT, 4);
    assert_tail(log, 100, LOG_STDOUT, 0);
    assert_tail(log, 1, LOG_STDERR, 11);
    assert_tail(log, 2, 0, 15);
    log_unref(log);
}

/* --- killed at any moment ------------------------------------------------------------------- */

static uint8_t byte_at(size_t i)
{
    return (uint8_t)(i * 2654435761U >> 13);
}

static _Noreturn void write_all(unsigned seed)
{
    static uint8_t chunk[70000];
    size_t at = 0;

    (void)close(pipe_ends[0]);
    while (at < CRASH_BYTES) {
        size_t size = (size_t)rand_r(&seed) % (rand_r(&seed) % 4 ? 300 : sizeof(chunk)) + 1;

        if (size > CRASH_BYTES - at)
            size = CRASH_BYTES - at;
        for (size_t i = 0; i < size; i++)
            chunk[i] = byte_at(at + i);
        for (size_t done = 0; done < size;) {
            ssize_t put_now = write(pipe_ends[1], chunk + done, size - done);

            if (put_now < 0)
                _exit(1);
            done += (size_t)put_now;
        }
        at += size;
    }
    _exit(0);
}

/* Takes over the log and the pipe, and goes on to the end of it. */
static _Noreturn void splice_all(const char *directory)
{
    struct log *log;

    if (log_open(directory, NAME, &log, NULL) < 0)
        _exit(2);
    for (;;) {
        int64_t moved = log_splice(log, LOG_STDOUT, 1, pipe_ends[0]);

        if (moved == 0)
            _exit(log_end(log) == 0 ? 0 : 3);
        if (moved < 0 && moved != -EAGAIN)
            _exit(4);
    }
}

static void a_kill_at_any_moment_loses_nothing_and_doubles_nothing(void **state)
{
    const char *seed_text = getenv("CROWNEST_TEST_SEED");
    unsigned seed = seed_text ? (unsigned)strtoul(seed_text, NULL, 10) : 1;
    size_t frames;
    int status;
    int kills = 0;

    print_message("seed %u\n", seed);
    log_unref(create(*state));
    open_pipe();
    pid_t writer = fork();

    if (writer == 0)
        write_all(seed);
    (void)close(pipe_ends[1]);
    for (;;) {
        pid_t pid = fork();

        if (pid == 0)
            splice_all(*state);
        if (kills < KILLS) {
            struct timespec life = {.tv_nsec = rand_r(&seed) % 1200000};

            (void)nanosleep(&life, NULL);
            (void)kill(pid, SIGKILL);
            kills++;
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (WIFEXITED(status))
            break;
    }
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(waitpid(writer, &status, 0), writer);
    assert_int_equal(status, 0);
    print_message("%d kills\n", kills);
    struct log *log;

    assert_int_equal(log_open(*state, NAME, &log, NULL), 0);
    assert_int_equal(log_size(log), CRASH_BYTES);
    char *text = content(log, &frames);

    for (size_t i = 0; i < CRASH_BYTES; i++) {
        if ((uint8_t)text[i] != byte_at(i))
            fail_msg("byte %zu is another one", i);
    }
    free(text);
    log_unref(log);
    (void)close(pipe_ends[0]);
}

static int set_up(void **state)
{
    *state = tempdir_new();
    return *state ? 0 : -1;
}

static int tear_down(void **state)
{
    tempdir_free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(what_is_in_the_pipe_is_in_the_log),
        TEST(single_bytes_make_one_frame),
        TEST(beyond_the_limit_the_writer_goes_on),
        TEST(output_is_kept_again_when_a_full_disk_has_room),
        TEST(a_reader_may_choose_a_stream),
        TEST(a_reader_passes_over_much_in_parts),
        TEST(the_last_lines_are_found),
        TEST(a_kill_at_any_moment_loses_nothing_and_doubles_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
