/* Names come out as protoc-c writes them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tools/build/protogen/naming.h"

static void a_run_of_capitals_is_one_word(void **state)
{
    char name[64];

    (void)state;
    assert_int_equal(naming_c_symbol("crownest.v1.WhoAmIRequest", name, sizeof(name)), 0);
    assert_string_equal(name, "crownest__v1__who_am_irequest");
    assert_int_equal(naming_snake("StreamLogs", name, sizeof(name)), 0);
    assert_string_equal(name, "stream_logs");
    assert_int_equal(naming_snake("ListIDs", name, sizeof(name)), 0);
    assert_string_equal(name, "list_ids");
}

static void types_keep_their_case(void **state)
{
    char name[64];

    (void)state;
    assert_int_equal(naming_c_type("crownest.v1.WhoAmIRequest", name, sizeof(name)), 0);
    assert_string_equal(name, "Crownest__V1__WhoAmIRequest");
    assert_int_equal(naming_c_type("a_b.c.Outer.Inner", name, sizeof(name)), 0);
    assert_string_equal(name, "AB__C__Outer__Inner");
}

static void what_does_not_fit_is_refused(void **state)
{
    char name[8];

    (void)state;
    assert_int_equal(naming_snake("OneTwo", name, sizeof(name)), 0);
    assert_int_not_equal(naming_snake("OneThree", name, sizeof(name)), 0);
    assert_int_not_equal(naming_c_type("", name, sizeof(name)), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_of_capitals_is_one_word),
        cmocka_unit_test(types_keep_their_case),
        cmocka_unit_test(what_does_not_fit_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
