/* What others chose cannot drive the reader's terminal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tools/cli/text.h"

static void control_characters_are_escaped(void **state)
{
    char text[128];

    (void)state;
    text_format("a\x1b[31mb\n\x7f\t", text, sizeof(text));
    assert_string_equal(text, "a\\x1b[31mb\\x0a\\x7f\\x09");
}

static void c1_and_bidi_characters_are_escaped(void **state)
{
    char text[128];

    (void)state;
    /* CSI as one character, right-to-left override, a zero-width no-break space. */
    text_format("\xc2\x9b|\xe2\x80\xae|\xef\xbb\xbf", text, sizeof(text));
    assert_string_equal(text, "\\x9b|\\u202e|\\ufeff");
}

static void text_in_any_language_stays(void **state)
{
    static const char original[] = "Übergröße 漢字 🪺";
    char text[128];

    (void)state;
    text_format(original, text, sizeof(text));
    assert_string_equal(text, original);
}

static void broken_utf8_is_escaped(void **state)
{
    char text[128];

    (void)state;
    /* A lone continuation, an overlong slash, a surrogate, a cut character. */
    text_format("\x80|\xc0\xaf|\xed\xa0\x80|\xe2\x82", text, sizeof(text));
    assert_string_equal(text, "\\x80|\\xc0\\xaf|\\xed\\xa0\\x80|\\xe2\\x82");
}

static void a_character_may_be_split_between_pieces(void **state)
{
    struct text_escaper escaper = {0};
    char text[128] = "";
    FILE *out = fmemopen(text, sizeof(text), "w");
    const char *euro = "x\xe2\x82\xac\n";

    (void)state;
    for (size_t i = 0; i < strlen(euro); i++)
        text_escape(&escaper, euro + i, 1, out);
    text_escape(&escaper, "\xe2\x82\x1b", 3, out);
    text_escape(&escaper, "\xf0\x9f", 2, out);
    text_escape_end(&escaper, out);
    (void)fclose(out);
    assert_string_equal(text, "x\xe2\x82\xac\n\\xe2\\x82\\x1b\\xf0\\x9f");
}

static void times_are_utc(void **state)
{
    Google__Protobuf__Timestamp time = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    char text[TEXT_TIME_SIZE];

    (void)state;
    time.seconds = 86400 + 3661;
    text_time(&time, text);
    assert_string_equal(text, "1970-01-02 01:01:01Z");
    text_time(NULL, text);
    assert_string_equal(text, "-");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(control_characters_are_escaped),
        cmocka_unit_test(c1_and_bidi_characters_are_escaped),
        cmocka_unit_test(text_in_any_language_stays),
        cmocka_unit_test(broken_utf8_is_escaped),
        cmocka_unit_test(a_character_may_be_split_between_pieces),
        cmocka_unit_test(times_are_utc),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
