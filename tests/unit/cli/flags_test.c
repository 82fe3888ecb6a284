/* A command's flags are read from its table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tools/cli/flags.h"

static const struct command command = {.name = "try", .operands = "", .summary = "a test"};

struct values {
    bool loud;
    const char *name;
    uint64_t size;
    struct flag_list tags;
    int operands;
};

static enum flags_result parse(struct values *values, bool stop_at_operand, char **argv)
{
    const struct flag flags[] = {
        {"loud", 'l', FLAG_SWITCH, &values->loud, NULL, "", 0},
        {"name", 'n', FLAG_TEXT, &values->name, "NAME", "", 0},
        {"size", 0, FLAG_NUMBER, &values->size, "N", "", 100},
        {"tag", 't', FLAG_LIST, &values->tags, "TAG", "", 0},
    };
    int argc = 0;

    while (argv[argc])
        argc++;
    return flags_parse(&command, flags, 4, stop_at_operand, argc, argv, &values->operands);
}

#define ARGV(...) ((char *[]){(char *)"try", __VA_ARGS__, NULL})

static void every_kind_is_read(void **state)
{
    struct values values = {0};

    (void)state;
    assert_int_equal(
        parse(&values, false, ARGV("-l", "one", "--name=x", "--size", "100", "-ta", "--tag", "b")),
        FLAGS_OK);
    assert_true(values.loud);
    assert_string_equal(values.name, "x");
    assert_int_equal(values.size, 100);
    assert_int_equal(values.tags.count, 2);
    assert_string_equal(values.tags.items[0], "a");
    assert_string_equal(values.tags.items[1], "b");
    assert_int_equal(values.operands, 8);
}

static void flags_of_the_operand_are_left_alone(void **state)
{
    struct values values = {0};

    (void)state;
    assert_int_equal(parse(&values, true, ARGV("-n", "x", "python3", "-l", "--size", "7")),
                     FLAGS_OK);
    assert_false(values.loud);
    assert_int_equal(values.operands, 3);
    assert_int_equal(parse(&values, true, ARGV("--", "-l")), FLAGS_OK);
    assert_false(values.loud);
    assert_int_equal(values.operands, 2);
}

static void mistakes_are_refused(void **state)
{
    struct values values = {0};

    (void)state;
    assert_int_equal(parse(&values, false, ARGV("--size", "101")), FLAGS_WRONG);
    assert_int_equal(parse(&values, false, ARGV("--size", "-1")), FLAGS_WRONG);
    assert_int_equal(parse(&values, false, ARGV("--size", "7x")), FLAGS_WRONG);
    assert_int_equal(parse(&values, false, ARGV("--size", "99999999999999999999")), FLAGS_WRONG);
    assert_int_equal(parse(&values, false, ARGV("--size")), FLAGS_WRONG);
    assert_int_equal(parse(&values, false, ARGV("--loud=1")), FLAGS_WRONG);
    assert_int_equal(parse(&values, false, ARGV("-z")), FLAGS_WRONG);
    assert_int_equal(parse(&values, false, ARGV("--what")), FLAGS_WRONG);
    assert_int_equal(values.size, 0);
}

static void a_list_is_bounded(void **state)
{
    static char *argv[2 * (FLAG_LIST_MAX + 1) + 2];
    static struct values values;

    (void)state;
    argv[0] = (char *)"try";
    for (size_t i = 0; i <= FLAG_LIST_MAX; i++) {
        argv[2 * i + 1] = (char *)"-t";
        argv[2 * i + 2] = (char *)"x";
    }
    assert_int_equal(parse(&values, false, argv), FLAGS_WRONG);
    assert_int_equal(values.tags.count, FLAG_LIST_MAX);
}

static void help_is_not_a_mistake(void **state)
{
    struct values values = {0};

    (void)state;
    assert_int_equal(parse(&values, false, ARGV("--help")), FLAGS_HELP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_is_read),
        cmocka_unit_test(flags_of_the_operand_are_left_alone),
        cmocka_unit_test(mistakes_are_refused),
        cmocka_unit_test(a_list_is_bounded),
        cmocka_unit_test(help_is_not_a_mistake),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
