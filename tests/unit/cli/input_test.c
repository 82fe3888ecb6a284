/* What is typed goes to the command, but for the escape that ends a session. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tools/cli/input.h"

/* Types pieces one after the other; ret_sent gets all that goes to the command. */
static bool type(const char *const pieces[], char ret_sent[64])
{
    unsigned char state = 0;
    bool end = false;

    ret_sent[0] = '\0';
    for (size_t i = 0; pieces[i]; i++) {
        unsigned char data[64];
        size_t len = strlen(pieces[i]);

        memcpy(data, pieces[i], len);
        len = input_filter(&state, data, len, &end);
        strncat(ret_sent, (const char *)data, len);
        if (end)
            break;
    }
    return end;
}

#define TYPE(sent, ...) type((const char *const[]){__VA_ARGS__, NULL}, sent)

static void ordinary_keys_go_through(void **state)
{
    char sent[64];

    (void)state;
    assert_false(TYPE(sent, "ls ~", "/x.", "\r", "a~.b\x03\x1b[A"));
    assert_string_equal(sent, "ls ~/x.\ra~.b\x03\x1b[A");
}

static void the_escape_ends_it_at_the_beginning_of_a_line(void **state)
{
    char sent[64];

    (void)state;
    assert_true(TYPE(sent, "~.", "more"));
    assert_string_equal(sent, "");
    assert_true(TYPE(sent, "exit\r", "~", "."));
    assert_string_equal(sent, "exit\r");
    assert_true(TYPE(sent, "x\n~.y"));
    assert_string_equal(sent, "x\n");
}

static void two_tildes_are_one_and_others_stay(void **state)
{
    char sent[64];

    (void)state;
    assert_false(TYPE(sent, "~~.", "\r~x", "\r~\r~", "~"));
    assert_string_equal(sent, "~.\r~x\r~\r~");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ordinary_keys_go_through),
        cmocka_unit_test(the_escape_ends_it_at_the_beginning_of_a_line),
        cmocka_unit_test(two_tildes_are_one_and_others_stay),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
