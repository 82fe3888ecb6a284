/* A command's log: what was appended is read from any offset, followed, bounded, checked. */
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
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/log/private.h"
#include "server/util/buf.h"
#include "server/util/cleanup.h"
#include "server/util/limits.h"
#include "tests/unit/tempdir.h"

#define NAME "cmd_01hz"
#define SEED 20240607U

static struct log *create(const char *directory)
{
    struct log *log = NULL;
    struct err err = {0};

    if (log_create(directory, NAME, &log, &err) != 0)
        fail_msg("%s", err.message);
    return log;
}

static struct log *reopen(const char *directory)
{
    struct log *log = NULL;
    struct err err = {0};

    if (log_open(directory, NAME, &log, &err) != 0)
        fail_msg("%s", err.message);
    return log;
}

static struct log_reader *reader_at(struct log *log, uint64_t offset)
{
    struct log_reader *reader = NULL;

    assert_int_equal(log_reader_new(log, offset, NULL, NULL, &reader), 0);
    return reader;
}

static int append(struct log *log, const char *text)
{
    return log_append(log, LOG_STDOUT, 7, bytes_of_string(text));
}

static char *file_path(const char *directory)
{
    char *path = NULL;

    assert_true(asprintf(&path, "%s/hz/" NAME ".log", directory) > 0);
    return path;
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

/* Reads text from the offset to the end; the last answer of the reader is returned. */
static int read_text(struct log *log, uint64_t offset, struct buf *ret_text)
{
    struct log_reader *reader = reader_at(log, offset);
    struct log_frame frame;
    int result;

    ret_text->size = 0;
    while ((result = log_reader_next(reader, &frame)) == 1) {
        assert_int_equal(frame.offset, offset + ret_text->size);
        buf_append(ret_text, frame.payload.data, frame.payload.size);
    }
    /* Neither an end nor an error goes away. */
    assert_int_equal(log_reader_next(reader, &frame), result);
    log_reader_free(reader);
    buf_append(ret_text, "", 1);
    ret_text->size--;
    return result;
}

static void assert_text(struct log *log, uint64_t offset, const char *expected)
{
    cleanup_buf struct buf text = {0};

    assert_int_equal(read_text(log, offset, &text), 0);
    assert_string_equal(text.data, expected);
}

/* --- random access ------------------------------------------------------------------------- */

#define ORACLE_FRAMES 2500

/* What the log should hold: its bytes, and of each frame the end and the stream. */
struct oracle {
    struct buf bytes;
    struct {
        uint64_t end;
        enum log_stream stream;
    } frames[ORACLE_FRAMES];
    unsigned seed;
};

static size_t random_size(unsigned *seed)
{
    unsigned kind = (unsigned)rand_r(seed) % 16;

    if (kind == 0)
        return LIMIT_LOG_FRAME - (unsigned)rand_r(seed) % 3;
    return 1 + (unsigned)rand_r(seed) % (kind < 4 ? 20000 : 200);
}

static void append_randomly(struct log *log, struct oracle *oracle, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        size_t size = random_size(&oracle->seed);
        enum log_stream stream = rand_r(&oracle->seed) % 2 ? LOG_STDERR : LOG_STDOUT;

        buf_reserve(&oracle->bytes, size);
        uint8_t *payload = oracle->bytes.data + oracle->bytes.size;

        for (size_t b = 0; b < size; b++)
            payload[b] = (uint8_t)rand_r(&oracle->seed);
        oracle->bytes.size += size;
        oracle->frames[i].end = oracle->bytes.size;
        oracle->frames[i].stream = stream;
        assert_int_equal(log_append(log, stream, 1000 + i, bytes_of(payload, size)), 0);
        assert_int_equal(log_size(log), oracle->bytes.size);
    }
}

/* Reads some frames from the offset, the first of them perhaps only in part. */
static void compare_from(struct log *log, const struct oracle *oracle, size_t count,
                         uint64_t offset)
{
    struct log_reader *reader = reader_at(log, offset);
    size_t at = 0;

    while (at < count && oracle->frames[at].end <= offset)
        at++;
    for (unsigned steps = 0; steps < 40; steps++, at++) {
        struct log_frame frame;
        int result = log_reader_next(reader, &frame);

        if (at == count) {
            assert_int_equal(result, 0);
            break;
        }
        assert_int_equal(result, 1);
        assert_int_equal(frame.offset, offset);
        assert_int_equal(frame.stream, oracle->frames[at].stream);
        assert_int_equal(frame.time_us, 1000 + at);
        assert_int_equal(frame.offset + frame.payload.size, oracle->frames[at].end);
        assert_memory_equal(frame.payload.data, oracle->bytes.data + offset, frame.payload.size);
        offset += frame.payload.size;
    }
    log_reader_free(reader);
}

static void compare_randomly(struct log *log, struct oracle *oracle, size_t count)
{
    assert_int_equal(log_size(log), oracle->bytes.size);
    compare_from(log, oracle, count, 0);
    compare_from(log, oracle, count, oracle->bytes.size);
    compare_from(log, oracle, count, oracle->bytes.size - 1);
    for (unsigned i = 0; i < 150; i++) {
        uint64_t frame_end = oracle->frames[(size_t)rand_r(&oracle->seed) % count].end;

        compare_from(log, oracle, count, (uint64_t)rand_r(&oracle->seed) % oracle->bytes.size);
        compare_from(log, oracle, count, frame_end);
    }
}

static void reads_from_anywhere_match(void **state)
{
    struct oracle *oracle = calloc(1, sizeof(*oracle));
    struct log *log = create(*state);

    assert_non_null(oracle);
    oracle->seed = SEED;
    append_randomly(log, oracle, 0, ORACLE_FRAMES / 2);
    compare_randomly(log, oracle, ORACLE_FRAMES / 2);
    assert_true(log->mark_count > 4);
    log_unref(log);

    /* As after a crash: opened, appended to, ended, and opened once more. */
    log = reopen(*state);
    assert_true(log->mark_count > 4);
    assert_false(log_ended(log));
    compare_randomly(log, oracle, ORACLE_FRAMES / 2);
    append_randomly(log, oracle, ORACLE_FRAMES / 2, ORACLE_FRAMES);
    compare_randomly(log, oracle, ORACLE_FRAMES);
    assert_int_equal(log_end(log), 0);
    compare_randomly(log, oracle, ORACLE_FRAMES);
    log_unref(log);

    log = reopen(*state);
    assert_true(log_ended(log));
    compare_randomly(log, oracle, ORACLE_FRAMES);
    log_unref(log);
    buf_done(&oracle->bytes);
    free(oracle);
}

static void offset_is_checked(void **state)
{
    struct log *log = create(*state);
    struct log_reader *reader = NULL;

    assert_text(log, 0, "");
    assert_int_equal(log_reader_new(log, 1, NULL, NULL, &reader), -ERANGE);
    assert_int_equal(append(log, "hello "), 0);
    assert_int_equal(append(log, "world"), 0);
    assert_int_equal(append(log, ""), 0);
    assert_text(log, 0, "hello world");
    assert_text(log, 8, "rld");
    assert_text(log, 11, "");
    assert_int_equal(log_reader_new(log, 12, NULL, NULL, &reader), -ERANGE);
    assert_null(reader);
    log_unref(log);
}

/* --- bounds -------------------------------------------------------------------------------- */

static void assert_gap(struct log *log, uint64_t offset, uint64_t from, uint64_t to)
{
    struct log_reader *reader = reader_at(log, offset);
    struct log_frame frame;

    while (offset < from) {
        assert_int_equal(log_reader_next(reader, &frame), 1);
        assert_int_equal(frame.stream, LOG_STDOUT);
        offset += frame.payload.size;
    }
    assert_int_equal(log_reader_next(reader, &frame), 1);
    assert_int_equal(frame.stream, LOG_GAP);
    assert_int_equal(frame.offset, offset);
    assert_int_equal(frame.gap_end, to);
    assert_int_equal(frame.payload.size, 0);
    assert_int_equal(log_reader_next(reader, &frame), 0);
    log_reader_free(reader);
}

static void beyond_the_limit_is_a_gap(void **state)
{
    static char payload[1000];
    /* Ten frames would fit, but not with both frames that end the log. */
    const uint64_t limit = FILE_HEADER + 10 * (FRAME_HEADER + sizeof(payload)) + FRAME_HEADER;
    struct log *log = NULL;
    char *path = file_path(*state);

    assert_int_equal(log_create_limited(*state, NAME, limit, &log, NULL), 0);
    for (int i = 0; i < 100; i++)
        assert_int_equal(log_append(log, LOG_STDOUT, 1, bytes_of(payload, sizeof(payload))), 0);
    /* A small one would still fit, but nothing is kept behind a gap. */
    assert_int_equal(append(log, "x"), 0);
    assert_int_equal(log_size(log), 100001);
    assert_int_equal(log->offset, 9 * sizeof(payload));
    assert_true((uint64_t)file_size(path) <= limit);
    const uint64_t kept = log->offset;

    assert_int_equal(log_end(log), 0);
    assert_true((uint64_t)file_size(path) <= limit);
    for (int pass = 0; pass < 2; pass++) {
        assert_int_equal(log_size(log), 100001);
        assert_gap(log, 0, kept, 100001);
        assert_gap(log, kept - 1, kept, 100001);
        assert_gap(log, kept, kept, 100001);
        assert_gap(log, kept + 12345, kept, 100001);
        assert_text(log, 100001, "");
        assert_int_equal(append(log, "x"), -EPIPE);
        log_unref(log);
        log = reopen(*state);
    }
    assert_int_equal(log_end(log), 0);
    log_unref(log);
    free(path);
}

/* A limit on file sizes stands for the full disk. */
static void failed_write_is_final_and_leaves_a_gap(void **state)
{
    struct log *log = create(*state);
    struct rlimit limit;
    char *path = file_path(*state);

    assert_int_equal(append(log, "kept"), 0);
    off_t size = file_size(path);

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    struct rlimit small = {.rlim_cur = (rlim_t)size + 10, .rlim_max = limit.rlim_max};

    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_int_equal(append(log, "lost"), -EIO);
    assert_int_equal(file_size(path), size);
    assert_int_equal(log_end(log), -EIO);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_true(log_ended(log));
    assert_int_equal(append(log, "late"), -EPIPE);
    assert_gap(log, 0, 4, 8);
    log_unref(log);
    log = reopen(*state);
    assert_text(log, 0, "kept");
    log_unref(log);
    free(path);
}

static void error_is_repeated_and_counted(void **state)
{
    struct log *log = create(*state);
    struct rlimit limit;

    assert_int_equal(append(log, "kept"), 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    struct rlimit small = {.rlim_cur = 70, .rlim_max = limit.rlim_max};

    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_int_equal(append(log, "lost"), -EIO);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_int_equal(append(log, "lost too"), -EIO);
    assert_int_equal(log_size(log), 16);
    /* There is room again: the gap reaches the file. */
    assert_int_equal(log_end(log), -EIO);
    assert_gap(log, 0, 4, 16);
    log_unref(log);
    log = reopen(*state);
    assert_true(log_ended(log));
    assert_gap(log, 0, 4, 16);
    log_unref(log);
}

/* --- damage -------------------------------------------------------------------------------- */

/* Three frames of 5 bytes each; the file holds them one after the other. */
#define FRAME_SIZE (FRAME_HEADER + 5)

static char *write_three(const char *directory, bool end)
{
    struct log *log = create(directory);

    assert_int_equal(append(log, "one.."), 0);
    assert_int_equal(append(log, "two.."), 0);
    assert_int_equal(append(log, "three"), 0);
    if (end)
        assert_int_equal(log_end(log), 0);
    log_unref(log);
    return file_path(directory);
}

static void damage_in_the_middle_is_found(void **state)
{
    char *path = write_three(*state, false);

    /* Each byte of the second frame, header and payload. */
    for (off_t at = 0; at < FRAME_SIZE; at++) {
        cleanup_buf struct buf text = {0};

        flip_byte(path, FILE_HEADER + FRAME_SIZE + at);
        struct log *log = reopen(*state);

        assert_int_equal(read_text(log, 0, &text), -EUCLEAN);
        assert_string_equal(text.data, "one..");
        if (at < FRAME_HEADER) {
            assert_int_equal(append(log, "more"), -EUCLEAN);
            assert_int_equal(log_end(log), -EUCLEAN);
        }
        log_unref(log);
        flip_byte(path, FILE_HEADER + FRAME_SIZE + at);
    }
    struct log *log = reopen(*state);

    assert_text(log, 0, "one..two..three");
    log_unref(log);
    free(path);
}

static void damage_at_the_end_of_an_ended_log_is_found(void **state)
{
    char *path = write_three(*state, true);
    cleanup_buf struct buf text = {0};

    flip_byte(path, FILE_HEADER + 3 * FRAME_SIZE - 1);
    struct log *log = reopen(*state);

    assert_true(log_ended(log));
    assert_int_equal(read_text(log, 0, &text), -EUCLEAN);
    assert_string_equal(text.data, "one..two..");
    log_unref(log);
    free(path);
}

static void foreign_file_is_refused(void **state)
{
    char *path = write_three(*state, false);
    struct log *log = NULL;
    struct err err = {0};

    flip_byte(path, 3);
    assert_int_equal(log_open(*state, NAME, &log, &err), -EUCLEAN);
    assert_null(log);
    assert_non_null(strstr(err.message, NAME));
    free(path);
}

/* Wherever the file was cut off, what is whole stays and writing goes on behind it. */
static void torn_tail_is_removed(void **state)
{
    for (off_t cut = 1; cut <= FRAME_SIZE; cut++) {
        char *path = write_three(*state, false);

        assert_int_equal(truncate(path, FILE_HEADER + 3 * FRAME_SIZE - cut), 0);
        struct log *log = reopen(*state);

        assert_int_equal(log_size(log), 10);
        assert_int_equal(file_size(path), FILE_HEADER + 2 * FRAME_SIZE);
        assert_int_equal(append(log, "again"), 0);
        assert_text(log, 0, "one..two..again");
        log_unref(log);
        log = reopen(*state);
        assert_text(log, 7, "o..again");
        log_unref(log);
        assert_int_equal(log_remove(*state, NAME), 0);
        free(path);
    }
}

static void torn_file_header_is_an_empty_log(void **state)
{
    for (off_t size = 0; size < FILE_HEADER; size++) {
        char *path = write_three(*state, false);

        assert_int_equal(truncate(path, size), 0);
        struct log *log = reopen(*state);

        assert_int_equal(log_size(log), 0);
        assert_int_equal(append(log, "new"), 0);
        log_unref(log);
        log = reopen(*state);
        assert_text(log, 0, "new");
        log_unref(log);
        assert_int_equal(log_remove(*state, NAME), 0);
        free(path);
    }
}

/* After a power failure: a file that was grown, its last bytes never written. */
static void unwritten_tail_is_removed(void **state)
{
    char *path = write_three(*state, false);

    assert_int_equal(truncate(path, FILE_HEADER + 3 * FRAME_SIZE - 2), 0);
    assert_int_equal(truncate(path, FILE_HEADER + 3 * FRAME_SIZE + 40000), 0);
    struct log *log = reopen(*state);

    assert_text(log, 0, "one..two..");
    assert_int_equal(file_size(path), FILE_HEADER + 2 * FRAME_SIZE);
    assert_int_equal(append(log, "again"), 0);
    assert_text(log, 0, "one..two..again");
    log_unref(log);
    free(path);
}

/* --- files --------------------------------------------------------------------------------- */

static void second_opener_gets_a_view(void **state)
{
    struct log *log = create(*state);
    char *path = file_path(*state);

    assert_int_equal(append(log, "one"), 0);
    off_t size = file_size(path);

    /* As if the writer were in the middle of a frame. */
    assert_int_equal(truncate(path, size + 100), 0);
    struct log *view = reopen(*state);

    assert_int_equal(file_size(path), size + 100);
    assert_text(view, 0, "one");
    assert_int_equal(append(view, "x"), -EBUSY);
    assert_int_equal(log_end(view), -EBUSY);
    assert_int_equal(log_size(view), 3);
    assert_int_equal(truncate(path, size), 0);
    assert_int_equal(append(log, " two"), 0);
    assert_int_equal(log_end(log), 0);
    log_unref(view);

    /* Ended logs are opened by many. */
    view = reopen(*state);
    struct log *other = reopen(*state);

    assert_text(view, 0, "one two");
    assert_text(other, 1, "ne two");
    assert_true(log_ended(other));
    log_unref(other);
    log_unref(view);
    log_unref(log);
    free(path);
}

static void names_are_checked(void **state)
{
    static const char *const bad[] = {"", "a", "a/b", "../ab", "..", "a.b", "a b", "\xc3\xa4\xc3"};
    char longest[66];
    struct log *log = NULL;

    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        assert_int_equal(log_create(*state, bad[i], &log, NULL), -EINVAL);
        assert_int_equal(log_open(*state, bad[i], &log, NULL), -EINVAL);
        assert_int_equal(log_remove(*state, bad[i]), -EINVAL);
    }
    memset(longest, 'a', sizeof(longest));
    longest[65] = '\0';
    assert_int_equal(log_create(*state, longest, &log, NULL), -EINVAL);
    longest[64] = '\0';
    assert_int_equal(log_create(*state, longest, &log, NULL), 0);
    log_unref(log);
}

static void files_are_private_and_made_once(void **state)
{
    struct log *log = create(*state);
    struct log *other = NULL;
    struct stat status;

    assert_int_equal(fstat(log->fd, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
    assert_int_equal(fcntl(log->fd, F_GETFD), FD_CLOEXEC);
    assert_int_equal(log_create(*state, NAME, &other, NULL), -EEXIST);
    assert_int_equal(log_remove(*state, NAME), 0);
    assert_int_equal(log_remove(*state, NAME), -ENOENT);
    assert_int_equal(log_open(*state, NAME, &other, NULL), -ENOENT);
    assert_null(other);
    /* Who has it open goes on. */
    assert_int_equal(append(log, "still here"), 0);
    assert_text(log, 0, "still here");
    log_unref(log);
}

static void bad_payloads_are_refused(void **state)
{
    struct log *log = create(*state);
    static char payload[LIMIT_LOG_FRAME + 1];

    assert_int_equal(log_append(log, LOG_STDOUT, 1, bytes_of(payload, sizeof(payload))), -EINVAL);
    assert_int_equal(log_append(log, LOG_GAP, 1, bytes_of(payload, 1)), -EINVAL);
    assert_int_equal(log_append(log, (enum log_stream)FRAME_END, 1, bytes_of(payload, 1)), -EINVAL);
    assert_int_equal(log_size(log), 0);
    assert_int_equal(log_append(log, LOG_STDERR, 1, bytes_of(payload, LIMIT_LOG_FRAME)), 0);
    assert_int_equal(log_size(log), LIMIT_LOG_FRAME);
    log_unref(log);
}

/* Or a kill while one is written over could leave a part of each. */
static void each_header_lies_in_one_page(void **state)
{
    static uint8_t file[1U << 20];
    struct log *log = create(*state);
    cleanup_free char *path = file_path(*state);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct frame frame;
    int found = 0;

    for (int i = 0; i < 1000; i++)
        assert_int_equal(log_append(log, LOG_STDOUT, 1, bytes_of(file, (size_t)i + 1)), 0);
    int64_t size = log_pread(fd, file, sizeof(file), 0);

    for (int64_t at = FILE_HEADER; at + FRAME_HEADER <= size; at++) {
        if (!frame_decode(file + at, &frame))
            continue;
        assert_int_equal(at / 4096, (at + FRAME_HEADER - 1) / 4096);
        found++;
    }
    assert_int_equal(found, 1000);
    (void)close(fd);
    log_unref(log);
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
        TEST(reads_from_anywhere_match),
        TEST(offset_is_checked),
        TEST(beyond_the_limit_is_a_gap),
        TEST(failed_write_is_final_and_leaves_a_gap),
        TEST(error_is_repeated_and_counted),
        TEST(damage_in_the_middle_is_found),
        TEST(damage_at_the_end_of_an_ended_log_is_found),
        TEST(foreign_file_is_refused),
        TEST(torn_tail_is_removed),
        TEST(torn_file_header_is_an_empty_log),
        TEST(unwritten_tail_is_removed),
        TEST(second_opener_gets_a_view),
        TEST(names_are_checked),
        TEST(files_are_private_and_made_once),
        TEST(bad_payloads_are_refused),
        TEST(each_header_lies_in_one_page),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
