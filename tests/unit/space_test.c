/* What is kept free, who is told so when, and the ballast. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/util/space.h"
#include "tests/unit/small_disk.h"

#define MIB (1UL << 20)
#define RESERVE (16 * MIB)
#define BALLAST (8 * MIB)

static struct space *open_space(const char *directory, uint64_t reserve)
{
    struct space *space = NULL;
    struct err err = {0};

    if (space_new(directory, reserve, &space, &err) < 0)
        fail_msg("%s", err.message);
    return space;
}

static struct space_report look(struct space *space)
{
    struct space_report report;

    space_look(space, &report);
    return report;
}

static void assert_refused(struct space *space, const char *part)
{
    struct status status = space_admit(space);

    assert_int_equal(status.code, STATUS_RESOURCE_EXHAUSTED);
    assert_string_equal(status.reason, "DISK_FULL");
    assert_true(status.retryable);
    assert_true(status.retry_after_ms > 0);
    if (!strstr(status.message, part))
        fail_msg("\"%s\" does not say \"%s\"", status.message, part);
}

static void assert_admitted(struct space *space)
{
    struct status status = space_admit(space);

    if (!status_is_ok(&status))
        fail_msg("%s", status.message);
}

static void new_work_stops_at_the_reserve(void **state)
{
    char *disk = small_disk_of(state);
    struct space *space = open_space(disk, RESERVE);

    assert_admitted(space);
    assert_int_equal(look(space).ballast_bytes, BALLAST);
    small_disk_fill(disk, "fill", RESERVE - BALLAST);
    assert_admitted(space);
    small_disk_fill(disk, "fill", RESERVE - BALLAST - MIB);
    assert_refused(space, "15 MiB free, and 16 MiB must stay free");
    small_disk_remove(disk, "fill");
    assert_admitted(space);
    space_free(space);
}

static void a_failed_write_gets_the_ballast_which_comes_back(void **state)
{
    char *disk = small_disk_of(state);
    struct space *space = open_space(disk, RESERVE);

    small_disk_fill(disk, "fill", 0);
    assert_int_equal(look(space).ballast_bytes, BALLAST);
    space_give_way(space);
    assert_int_equal(look(space).ballast_bytes, 0);
    assert_true(small_disk_free_bytes(disk) >= BALLAST);
    assert_refused(space, "8 MiB free");
    small_disk_remove(disk, "fill");
    assert_admitted(space);
    assert_int_equal(look(space).ballast_bytes, BALLAST);
    space_free(space);
}

static void files_count_too(void **state)
{
    char *disk = small_disk_of(state);
    struct space *space = open_space(disk, RESERVE);

    /* Of 2000, some are taken by what was made already. */
    for (int i = 0; i < 1000; i++) {
        char path[512];

        (void)snprintf(path, sizeof(path), "%s/%d", disk, i);
        int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

        assert_true(fd >= 0);
        (void)close(fd);
    }
    assert_refused(space, "more files, and must have it for 1024");
    space_free(space);
}

static void the_next_process_finds_the_ballast(void **state)
{
    char *disk = small_disk_of(state);
    space_free(open_space(disk, RESERVE));
    size_t before = small_disk_free_bytes(disk);
    struct space *space = open_space(disk, RESERVE);

    assert_int_equal(look(space).ballast_bytes, BALLAST);
    assert_int_equal(small_disk_free_bytes(disk), before);
    space_free(space);
    space = open_space(disk, RESERVE / 2);
    assert_int_equal(look(space).ballast_bytes, BALLAST / 2);
    assert_int_equal(small_disk_free_bytes(disk), before + BALLAST / 2);
    space_free(space);
}

static void the_reserve_has_a_default(void **state)
{
    char *disk = small_disk_of(state);
    struct space *space = open_space(disk, 0);

    assert_int_equal(look(space).reserve_bytes, SPACE_RESERVE_MIN);
    assert_admitted(space);
    space_free(space);
}

static void a_directory_that_is_not_there_is_an_error(void **state)
{
    struct space *space = NULL;
    struct err err = {0};

    (void)state;
    assert_true(space_new("/missing/directory", RESERVE, &space, &err) < 0);
    assert_null(space);
    assert_non_null(strstr(err.message, "/missing/directory"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SMALL_DISK_TEST(new_work_stops_at_the_reserve),
        SMALL_DISK_TEST(a_failed_write_gets_the_ballast_which_comes_back),
        SMALL_DISK_TEST(files_count_too),
        SMALL_DISK_TEST(the_next_process_finds_the_ballast),
        SMALL_DISK_TEST(the_reserve_has_a_default),
        cmocka_unit_test(a_directory_that_is_not_there_is_an_error),
    };

    return cmocka_run_group_tests(tests, small_disk_group, NULL);
}
