/* Paths that clients name: refused as text when they could mean another place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "server/util/path.h"

static void ordinary_paths_pass(void **state)
{
    const char *paths[] = {"main.py", "/workspace/a b", "a/...", "..a/b", "a..", "/", "./a"};

    (void)state;
    for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
        struct status status = path_check(paths[i], "path", "PATH_INVALID");

        assert_true(status_is_ok(&status));
    }
}

static void parents_are_refused_wherever_they_stand(void **state)
{
    const char *paths[] = {"..", "../a", "/a/../b", "a/..", "/.."};

    (void)state;
    for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
        struct status status = path_check(paths[i], "items[0].path", "PATH_INVALID");

        assert_int_equal(status.code, STATUS_INVALID_ARGUMENT);
        assert_string_equal(status.field, "items[0].path");
    }
}

static void empty_and_endless_paths_are_refused(void **state)
{
    char path[5000];
    struct status status = path_check("", "path", "PATH_INVALID");

    (void)state;
    assert_string_equal(status.reason, "PATH_INVALID");
    memset(path, 'a', sizeof(path));
    path[4096] = '\0';
    status = path_check(path, "path", "PATH_INVALID");
    assert_int_equal(status.code, STATUS_INVALID_ARGUMENT);
    path[4095] = '\0';
    status = path_check(path, "path", "PATH_INVALID");
    assert_true(status_is_ok(&status));
}

static void wildcards_and_base_names(void **state)
{
    (void)state;
    assert_true(path_is_glob("out/*.html"));
    assert_true(path_is_glob("a?"));
    assert_false(path_is_glob("out/[a].html"));
    assert_string_equal(path_base("/a/b.html"), "b.html");
    assert_string_equal(path_base("b.html"), "b.html");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ordinary_paths_pass),
        cmocka_unit_test(parents_are_refused_wherever_they_stand),
        cmocka_unit_test(empty_and_endless_paths_are_refused),
        cmocka_unit_test(wildcards_and_base_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
