/* Names that are bytes become text that every client can read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/util/utf8.h"

#define CHECK(text, valid) assert_int_equal(utf8_valid(bytes_of(text, sizeof(text) - 1)), valid)

static void valid_and_invalid_sequences(void **state)
{
    (void)state;
    CHECK("", true);
    CHECK("plain", true);
    CHECK("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", true);
    CHECK("\xc0\xaf", false);
    CHECK("\xe0\x80\x80", false);
    CHECK("\xed\xa0\x80", false);
    CHECK("\xf4\x90\x80\x80", false);
    CHECK("\xf5\x80\x80\x80", false);
    CHECK("\x80", false);
    CHECK("a\xe2\x82", false);
}

static void lossy_text_keeps_what_is_text(void **state)
{
    struct arena *arena = arena_new(4096);

    (void)state;
    assert_string_equal(utf8_lossy(arena, bytes_of_string("a\xff\xc3\xa4\xe2\x82")),
                        "a\xef\xbf\xbd\xc3\xa4\xef\xbf\xbd\xef\xbf\xbd");
    assert_string_equal(utf8_lossy(arena, bytes_of_string("")), "");
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(valid_and_invalid_sequences),
        cmocka_unit_test(lossy_text_keeps_what_is_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
