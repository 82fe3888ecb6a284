/*
 * Commands that are refused: each with its own status, by Start and by Run alike, and nothing comes
 * of them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/rpc/leftovers.h"
#include "tests/rpc/service_fixture.h"
#include "tests/rpc/steps.h"

#define HUGE_VALUE (5U << 20)
#define MANY 65

/* A command with room for what cases put into it; `argv` is {"true"} unless a case changes it. */
struct attempt {
    Crownest__V1__CommandSpec command;
    Google__Protobuf__Duration timeout;
    Crownest__V1__CommandSpec__EnvEntry variable;
    Crownest__V1__CommandSpec__EnvEntry *env[1];
    Crownest__V1__CollectItem item;
    Crownest__V1__CollectItem *items[MANY];
    char *argv[2];
};

struct bad {
    const char *what;
    void (*fill)(struct attempt *attempt);
    int code;
    const char *reason;
    const char *field;
};

static char *huge;

static void no_argv(struct attempt *a)
{
    a->command.n_argv = 0;
}

static void empty_program(struct attempt *a)
{
    a->argv[0] = STEP_TEXT("");
}

static void both(struct attempt *a)
{
    a->command.shell = STEP_TEXT("true");
}

static void huge_argument(struct attempt *a)
{
    a->argv[1] = huge;
    a->command.n_argv = 2;
}

static void huge_line(struct attempt *a)
{
    a->command.n_argv = 0;
    a->command.shell = huge;
}

static void unknown_program(struct attempt *a)
{
    a->argv[0] = STEP_TEXT("no-such-program");
}

static void program_is_directory(struct attempt *a)
{
    a->argv[0] = STEP_TEXT("/tmp");
}

static void program_not_executable(struct attempt *a)
{
    a->argv[0] = STEP_TEXT("/etc/passwd");
}

static void cwd_file(struct attempt *a)
{
    a->command.cwd = STEP_TEXT("/etc/passwd");
}

static void cwd_missing(struct attempt *a)
{
    a->command.cwd = STEP_TEXT("/no/such/directory");
}

static void cwd_relative(struct attempt *a)
{
    a->command.cwd = STEP_TEXT("tmp");
}

static void cwd_parent(struct attempt *a)
{
    a->command.cwd = STEP_TEXT("/tmp/../etc");
}

static void cwd_closed(struct attempt *a)
{
    a->command.cwd = STEP_TEXT("/root");
}

static void cwd_long(struct attempt *a)
{
    static char path[4097] = "/";

    memset(path + 1, 'x', sizeof(path) - 2);
    a->command.cwd = path;
}

static void unknown_user(struct attempt *a)
{
    a->command.user = STEP_TEXT("daemon");
}

static void variable(struct attempt *a, const char *name, const char *value)
{
    a->variable.key = STEP_TEXT(name);
    a->variable.value = STEP_TEXT(value);
    a->env[0] = &a->variable;
    a->command.env = a->env;
    a->command.n_env = 1;
}

static void env_huge(struct attempt *a)
{
    variable(a, "HUGE", huge);
}

static void env_bad(struct attempt *a)
{
    variable(a, "not-a-name", "x");
}

static void env_empty(struct attempt *a)
{
    variable(a, "", "x");
}

static void timeout_of(struct attempt *a, int64_t seconds)
{
    a->timeout.seconds = seconds;
    a->command.timeout = &a->timeout;
}

static void timeout_zero(struct attempt *a)
{
    timeout_of(a, 0);
}

static void timeout_negative(struct attempt *a)
{
    timeout_of(a, -5);
}

static void timeout_beyond(struct attempt *a)
{
    timeout_of(a, 86401);
}

static void collect(struct attempt *a, const char *path, const char *name)
{
    a->item.path = STEP_TEXT(path);
    a->item.name = STEP_TEXT(name);
    a->items[0] = &a->item;
    a->command.collect = a->items;
    a->command.n_collect = 1;
}

static void collect_parent(struct attempt *a)
{
    collect(a, "../etc/passwd", "");
}

static void collect_empty(struct attempt *a)
{
    collect(a, "", "");
}

static void collect_name(struct attempt *a)
{
    collect(a, "report", "a/b");
}

static void collect_glob_name(struct attempt *a)
{
    collect(a, "*.txt", "one");
}

static void collect_many(struct attempt *a)
{
    collect(a, "report", "");
    for (size_t i = 1; i < MANY; i++)
        a->items[i] = &a->item;
    a->command.n_collect = MANY;
}

static void text_program(struct attempt *a)
{
    a->argv[0] = STEP_TEXT("\x80true");
}

static void text_cwd(struct attempt *a)
{
    a->command.cwd = STEP_TEXT("/tmp/\xf5");
}

static void text_variable(struct attempt *a)
{
    variable(a, "A", "\xed\xa0\x80");
}

static const struct bad table[] = {
    {"no argv", no_argv, 3, "COMMAND_EMPTY", "command.argv"},
    {"an empty program", empty_program, 3, "COMMAND_EMPTY", "command.argv"},
    {"argv and shell", both, 3, "COMMAND_AMBIGUOUS", "command.shell"},
    {"5 MiB of argv", huge_argument, 3, "COMMAND_TOO_LARGE", "command.argv"},
    {"5 MiB of shell", huge_line, 3, "COMMAND_TOO_LARGE", "command.shell"},
    {"an unknown program", unknown_program, 9, "EXEC_FAILED", "command.argv"},
    {"a directory for a program", program_is_directory, 9, "EXEC_FAILED", "command.argv"},
    {"a text for a program", program_not_executable, 9, "EXEC_FAILED", "command.argv"},
    {"a file for cwd", cwd_file, 9, "CWD_NOT_A_DIRECTORY", "command.cwd"},
    {"a missing cwd", cwd_missing, 9, "CWD_NOT_A_DIRECTORY", "command.cwd"},
    {"a cwd that is closed to the user", cwd_closed, 9, "CWD_NOT_A_DIRECTORY", "command.cwd"},
    {"a relative cwd", cwd_relative, 3, "CWD_INVALID", "command.cwd"},
    {"a cwd with ..", cwd_parent, 3, "CWD_INVALID", "command.cwd"},
    {"a cwd of 4096 bytes", cwd_long, 3, "CWD_INVALID", "command.cwd"},
    {"an unknown user", unknown_user, 3, "USER_UNKNOWN", "command.user"},
    {"5 MiB of env", env_huge, 3, "ENV_TOO_LARGE", "command.env"},
    {"a bad name in env", env_bad, 3, "ENV_INVALID", "command.env"},
    {"no name in env", env_empty, 3, "ENV_INVALID", "command.env"},
    {"a timeout of 0", timeout_zero, 3, "TIMEOUT_INVALID", "command.timeout"},
    {"a negative timeout", timeout_negative, 3, "TIMEOUT_INVALID", "command.timeout"},
    {"a timeout beyond the cap", timeout_beyond, 3, "TIMEOUT_INVALID", "command.timeout"},
    {"collecting ..", collect_parent, 3, "COLLECT_PATH_INVALID", "command.collect[0].path"},
    {"collecting nothing", collect_empty, 3, "COLLECT_PATH_INVALID", "command.collect[0].path"},
    {"a name with /", collect_name, 3, "COLLECT_NAME_INVALID", "command.collect[0].name"},
    {"a name for a glob", collect_glob_name, 3, "COLLECT_NAME_INVALID", "command.collect[0].name"},
    {"65 items", collect_many, 3, "COLLECT_TOO_MANY", "command.collect"},
    {"a program that is not UTF-8", text_program, 3, "TEXT_INVALID", "command.argv"},
    {"a cwd that is not UTF-8", text_cwd, 3, "TEXT_INVALID", "command.cwd"},
    {"a variable that is not UTF-8", text_variable, 3, "TEXT_INVALID", "command.env.value"},
};

static struct attempt *prepare(const struct bad *bad, const char *sandbox_id)
{
    static struct attempt attempt;

    memset(&attempt, 0, sizeof(attempt));
    crownest__v1__command_spec__init(&attempt.command);
    google__protobuf__duration__init(&attempt.timeout);
    crownest__v1__command_spec__env_entry__init(&attempt.variable);
    crownest__v1__collect_item__init(&attempt.item);
    attempt.argv[0] = STEP_TEXT("true");
    attempt.command.sandbox_id = STEP_TEXT(sandbox_id);
    attempt.command.argv = attempt.argv;
    attempt.command.n_argv = 1;
    bad->fill(&attempt);
    return &attempt;
}

static int try_start(struct crownest_client *client, Crownest__V1__CommandSpec *command,
                     struct crownest_error *error)
{
    Crownest__V1__StartCommandRequest request = CROWNEST__V1__START_COMMAND_REQUEST__INIT;
    Crownest__V1__StartCommandResponse *response;

    request.command = command;
    return crownest_command_start(client, &request, NULL, &response, error);
}

static int try_run(struct crownest_client *client, Crownest__V1__CommandSpec *command,
                   struct crownest_error *error)
{
    Crownest__V1__RunCommandRequest request = CROWNEST__V1__RUN_COMMAND_REQUEST__INIT;
    Crownest__V1__RunCommandResponse *message;
    struct crownest_command_run_reader *reader;

    request.command = command;
    int result = crownest_command_run_open(client, &request, NULL, &reader, error);

    if (result < 0)
        return result;
    result = crownest_command_run_next(reader, &message, error);
    crownest_command_run_free(reader);
    return result;
}

static void try_all(const struct service *service, const char *sandbox_id,
                    int (*try)(struct crownest_client *client, Crownest__V1__CommandSpec *command,
                               struct crownest_error *error))
{
    struct leftovers before = leftovers_count(service, sandbox_id);

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct crownest_error error = {0};
        struct attempt *attempt = prepare(&table[i], sandbox_id);
        int result = try(service->client, &attempt->command, &error);

        assert_refused_at(result, &error, table[i].code, table[i].reason, table[i].field,
                          table[i].what);
        assert_false(error.retryable);
        assert_string_equal(error.admitted, "no");
        assert_true(strlen(error.message) > 0);
    }
    assert_nothing_left(service, sandbox_id, &before, "bad commands");
}

static void a_bad_command_is_refused_and_leaves_nothing(void **state)
{
    struct service *service = service_of(state);
    struct crownest_error error = {0};
    char sandbox_id[STEP_ID_SIZE];

    huge = malloc(HUGE_VALUE + 1);
    assert_non_null(huge);
    memset(huge, 'x', HUGE_VALUE);
    huge[HUGE_VALUE] = '\0';
    step_create(service->client, "base", sandbox_id);
    try_all(service, sandbox_id, try_start);
    try_all(service, sandbox_id, try_run);
    assert_refused(try_start(service->client, NULL, &error), &error, 3, "COMMAND_EMPTY", "command");
    assert_refused(try_run(service->client, NULL, &error), &error, 3, "COMMAND_EMPTY", "command");
    step_kill(service->client, sandbox_id);
    free(huge);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bad_command_is_refused_and_leaves_nothing),
        cmocka_unit_test(service_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, service_setup, service_teardown);
}
