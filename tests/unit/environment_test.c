/* The environment of a command: each name once, the innermost value. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "server/sandbox/environment.h"

/* The value of a variable; fails when it stands there more than once. */
static const char *value_of(const struct buf *blob, const char *name)
{
    const char *found = NULL;
    size_t size = strlen(name);

    for (const char *at = (const char *)blob->data; at < (const char *)blob->data + blob->size;
         at += strlen(at) + 1) {
        if (strncmp(at, name, size) == 0 && at[size] == '=') {
            assert_null(found);
            found = at + size + 1;
        }
    }
    return found;
}

static void inner_replaces_outer_replaces_defaults(void **state)
{
    const char *outer[] = {"LANG=C", "A=outer", "B=outer"};
    const char *inner[] = {"A=inner", "PATH=/opt"};
    struct environment environment = {.user = "user",
                                      .sandbox_id = "sbx_1",
                                      .outer = outer,
                                      .outer_count = 3,
                                      .inner = inner,
                                      .inner_count = 2};
    struct buf blob = {0};

    (void)state;
    assert_int_equal(environment_append(&environment, &blob), 8);
    assert_string_equal(value_of(&blob, "A"), "inner");
    assert_string_equal(value_of(&blob, "B"), "outer");
    assert_string_equal(value_of(&blob, "LANG"), "C");
    assert_string_equal(value_of(&blob, "PATH"), "/opt");
    assert_string_equal(value_of(&blob, "HOME"), "/home/user");
    assert_string_equal(value_of(&blob, "CROWNEST_SANDBOX_ID"), "sbx_1");
    buf_done(&blob);
}

static void a_name_is_not_its_prefix(void **state)
{
    const char *outer[] = {"HOMEPAGE=x"};
    struct environment environment = {
        .user = "root", .sandbox_id = "sbx_1", .outer = outer, .outer_count = 1};
    struct buf blob = {0};

    (void)state;
    (void)environment_append(&environment, &blob);
    assert_string_equal(value_of(&blob, "HOME"), "/root");
    assert_string_equal(value_of(&blob, "HOMEPAGE"), "x");
    buf_done(&blob);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inner_replaces_outer_replaces_defaults),
        cmocka_unit_test(a_name_is_not_its_prefix),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
