/* A log that ends on a full disk: its end, and the gap before it, are written when there is room.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>

#include "server/log/log.h"
#include "tests/unit/small_disk.h"

#define NAME "cmd_finish"

static struct log *full_log(const char *disk, uint64_t *ret_kept)
{
    struct log *log = NULL;
    struct err err = {0};
    int result = 0;

    assert_int_equal(log_create(disk, NAME, &log, &err), 0);
    small_disk_fill(disk, "fill", 0);
    /* One byte at a time, so that nothing at all finds room afterwards. */
    for (*ret_kept = 0; result == 0; (*ret_kept)++)
        result = log_append(log, LOG_STDOUT, 1, bytes_of_string("x"));
    assert_int_equal(result, -ENOSPC);
    --*ret_kept;
    return log;
}

static void assert_gap_and_end(struct log *log, uint64_t kept)
{
    struct log_reader *reader = NULL;
    struct log_frame frame;

    assert_true(log_ended(log));
    assert_int_equal(log_reader_new(log, kept, NULL, NULL, &reader), 0);
    assert_int_equal(log_reader_next(reader, &frame), 1);
    assert_int_equal(frame.stream, LOG_GAP);
    assert_int_equal(frame.offset, kept);
    assert_int_equal(frame.gap_end, kept + 1);
    assert_int_equal(frame.gap_reason, LOG_GAP_DISK_FULL);
    assert_int_equal(log_reader_next(reader, &frame), 0);
    log_reader_free(reader);
}

static void it_is_finished_when_there_is_room(void **state)
{
    const char *disk = small_disk_of(state);
    uint64_t kept;
    struct log *log = full_log(disk, &kept);
    struct err err = {0};

    assert_int_equal(log_finish(log), -ENOSPC);
    assert_int_equal(log_finish(log), -ENOSPC);
    assert_false(log_ended(log));
    small_disk_remove(disk, "fill");
    assert_int_equal(log_finish(log), 0);
    assert_int_equal(log_end(log), 0);
    assert_gap_and_end(log, kept);
    log_unref(log);
    assert_int_equal(log_open(disk, NAME, &log, &err), 0);
    assert_gap_and_end(log, kept);
    log_unref(log);
}

/* The file is left as a kill would leave it: neither gap nor end has found room. */
static void what_was_lost_is_known_to_who_opens_it_next(void **state)
{
    const char *disk = small_disk_of(state);
    uint64_t kept;
    struct log *log = full_log(disk, &kept);
    struct err err = {0};

    log_unref(log);
    assert_int_equal(log_open(disk, NAME, &log, &err), 0);
    assert_int_equal(log_size(log), kept + 1);
    assert_int_equal(log_append(log, LOG_STDOUT, 1, bytes_of_string("y")), -ENOSPC);
    log_unref(log);
    small_disk_remove(disk, "fill");
    assert_int_equal(log_open(disk, NAME, &log, &err), 0);
    assert_int_equal(log_append(log, LOG_STDOUT, 1, bytes_of_string("z")), 0);
    assert_int_equal(log_finish(log), 0);
    assert_int_equal(log_size(log), kept + 3);
    log_unref(log);

    /* What the place for a gap says is of no account any more. */
    assert_int_equal(log_open(disk, NAME, &log, &err), 0);
    assert_int_equal(log_size(log), kept + 3);
    log_unref(log);
}

static void who_does_not_wait_ends_it_for_its_readers(void **state)
{
    uint64_t kept;
    struct log *log = full_log(small_disk_of(state), &kept);

    assert_int_equal(log_end(log), -ENOSPC);
    assert_true(log_ended(log));
    assert_int_equal(log_append(log, LOG_STDOUT, 1, bytes_of_string("x")), -EPIPE);
    log_unref(log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SMALL_DISK_TEST(it_is_finished_when_there_is_room),
        SMALL_DISK_TEST(what_was_lost_is_known_to_who_opens_it_next),
        SMALL_DISK_TEST(who_does_not_wait_ends_it_for_its_readers),
    };

    return cmocka_run_group_tests(tests, small_disk_group, NULL);
}
