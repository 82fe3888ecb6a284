#include <stdio.h>

#include <jansson.h>

#include "tools/cli/check.h"
#include "tools/cli/flags.h"
#include "tools/cli/json.h"
#include "tools/cli/layout.h"
#include "tools/cli/text.h"

static const char *const levels[] = {
    [CHECK_OK] = "ok", [CHECK_WARN] = "warn", [CHECK_FAIL] = "fail"};

static void print_result(const struct check *check, const struct check_result *result)
{
    printf("%-4s  %-12s ", levels[result->level], check->name);
    text_print(result->found, stdout);
    if (result->remedy[0]) {
        fputs(" -> ", stdout);
        text_print(result->remedy, stdout);
    }
    putchar('\n');
}

static void add_result(json_t *array, const struct check *check, const struct check_result *result)
{
    (void)json_array_append_new(array, json_pack("{s:s, s:s, s:s, s:s}", "check", check->name,
                                                 "level", levels[result->level], "found",
                                                 result->found, "remedy", result->remedy));
}

static int examine(const struct check_context *context, bool as_json)
{
    json_t *array = as_json ? json_array() : NULL;
    int code = EXIT_OK;

    for (size_t i = 0; i < check_count; i++) {
        struct check_result result = {0};

        checks[i].run(context, &result);
        if (array)
            add_result(array, &checks[i], &result);
        else
            print_result(&checks[i], &result);
        if (result.level == CHECK_FAIL)
            code = EXIT_FAILED;
    }
    if (array && json_print(array, stdout))
        return EXIT_FAILED;
    return code;
}

static int doctor_run(const struct command *command, int argc, char **argv)
{
    struct check_context context = {
        .root = "",
        .data = LAYOUT_DEFAULT_DATA,
        .run_dir = LAYOUT_DEFAULT_RUN,
        .listen = "127.0.0.1:7070",
        .user = LAYOUT_DEFAULT_USER,
    };
    bool as_json = false;
    const struct flag flags[] = {
        {"data", 0, FLAG_TEXT, &context.data, "DIR", "as for up", 0},
        {"run-dir", 0, FLAG_TEXT, &context.run_dir, "DIR", "as for up", 0},
        {"listen", 0, FLAG_TEXT, &context.listen, "HOST:PORT", "as for up", 0},
        {"user", 0, FLAG_TEXT, &context.user, "USER", "as for up", 0},
        {"bin-dir", 0, FLAG_TEXT, &context.bin_dir, "DIR", "as for up", 0},
        {"volume", 0, FLAG_TEXT, &context.volume, "DIR", "as for up", 0},
        {"json", 0, FLAG_SWITCH, &as_json, NULL, "print the findings as JSON", 0},
    };
    int first;
    enum flags_result parsed = FLAGS_PARSE(command, flags, argc, argv, &first);

    if (parsed != FLAGS_OK)
        return parsed == FLAGS_HELP ? EXIT_OK : EXIT_USAGE;
    if (argc != first)
        return flags_mistake(command, "takes no operands");
    return examine(&context, as_json);
}

const struct command command_doctor = {
    .name = "doctor",
    .operands = "",
    .summary = "say what this host lacks for running the service",
    .manual = "One line for each thing: ok, warn or fail, what was found, and the remedy.\n"
              "Changes nothing. Exit code 1 when something failed.\n",
    .run = doctor_run,
};
