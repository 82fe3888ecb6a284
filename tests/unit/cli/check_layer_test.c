/* The doctor says where sandboxes write; a volume that is none fails. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tools/cli/check.h"

static struct check_result examine(const char *volume)
{
    const struct check_context context = {.root = "", .volume = volume};
    struct check_result result = {0};

    check_layer(&context, &result);
    return result;
}

static void without_a_volume_it_is_memory(void **state)
{
    struct check_result result = examine(NULL);

    (void)state;
    assert_int_equal(result.level, CHECK_OK);
    assert_string_equal(result.found, "writable layer: tmpfs charged to memory");
    assert_string_equal(result.remedy, "");
}

static void another_file_system_fails(void **state)
{
    struct check_result result = examine("/proc");

    (void)state;
    assert_int_equal(result.level, CHECK_FAIL);
    assert_string_equal(result.found, "/proc is not on btrfs");
    assert_non_null(strstr(result.remedy, "btrfs"));
}

static void a_missing_directory_fails(void **state)
{
    struct check_result result = examine("/nonexistent");

    (void)state;
    assert_int_equal(result.level, CHECK_FAIL);
    assert_string_equal(result.found, "/nonexistent: No such file or directory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_volume_it_is_memory),
        cmocka_unit_test(another_file_system_fails),
        cmocka_unit_test(a_missing_directory_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
