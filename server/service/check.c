#include "server/service/check.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "server/artifact/collect.h"
#include "server/audit/cursor.h"
#include "server/util/limits.h"
#include "server/util/path.h"
#include "server/util/prototime.h"

#define DEFAULT_ROWS 24
#define DEFAULT_COLUMNS 80

struct status check_variable(const char *field, const char *name)
{
    bool valid = isalpha((unsigned char)name[0]) || name[0] == '_';

    for (const char *c = name; valid && *c; c++)
        valid = isalnum((unsigned char)*c) || *c == '_';
    if (!valid)
        return status_invalid(field, "ENV_INVALID",
                              "`%.60s` is no variable's name: [A-Za-z_][A-Za-z0-9_]*", name);
    return STATUS_OK_VALUE;
}

static struct status fill_argv(const Crownest__V1__CommandSpec *spec, struct arena *arena,
                               Crownest__V1__Command *command)
{
    if (spec->n_argv > 0 && spec->shell[0])
        return status_invalid("command.shell", "COMMAND_AMBIGUOUS", "give argv or shell, not both");
    if (spec->shell[0]) {
        command->argv = arena_alloc(arena, 3 * sizeof(*command->argv));
        command->argv[0] = arena_strdup(arena, "/bin/sh");
        command->argv[1] = arena_strdup(arena, "-c");
        command->argv[2] = spec->shell;
        command->n_argv = 3;
        return STATUS_OK_VALUE;
    }
    if (spec->n_argv == 0 || spec->argv[0][0] == '\0')
        return status_invalid("command.argv", "COMMAND_EMPTY",
                              "name a program in argv, or a line in shell");
    if (spec->n_argv > LIMIT_ARGV)
        return status_invalid("command.argv", "COMMAND_TOO_LARGE", "at most %d arguments",
                              LIMIT_ARGV);
    command->argv = spec->argv;
    command->n_argv = spec->n_argv;
    return STATUS_OK_VALUE;
}

static struct status fill_env(const Crownest__V1__CommandSpec *spec, struct arena *arena,
                              Crownest__Records__CommandRecord *record)
{
    char **env = arena_alloc(arena, (spec->n_env + 1) * sizeof(*env));
    size_t argv_bytes = 0;
    size_t env_bytes = 0;

    for (size_t i = 0; i < spec->n_argv; i++)
        argv_bytes += strlen(spec->argv[i]) + 1;
    argv_bytes += strlen(spec->shell);
    for (size_t i = 0; i < spec->n_env; i++)
        env_bytes += strlen(spec->env[i]->key) + strlen(spec->env[i]->value) + 2;
    if (argv_bytes > LIMIT_ARGV_ENV_BYTES)
        return status_invalid(spec->shell[0] ? "command.shell" : "command.argv",
                              "COMMAND_TOO_LARGE", "the command has more than %u bytes",
                              LIMIT_ARGV_ENV_BYTES);
    if (spec->n_env > LIMIT_COMMAND_ENV || argv_bytes + env_bytes > LIMIT_ARGV_ENV_BYTES)
        return status_invalid("command.env", "ENV_TOO_LARGE",
                              "at most %d variables, and %u bytes of them and the arguments",
                              LIMIT_COMMAND_ENV, LIMIT_ARGV_ENV_BYTES);
    for (size_t i = 0; i < spec->n_env; i++) {
        struct status status = check_variable("command.env", spec->env[i]->key);

        if (!status_is_ok(&status))
            return status;
        env[i] = arena_printf(arena, "%s=%s", spec->env[i]->key, spec->env[i]->value);
    }
    record->env = env;
    record->n_env = spec->n_env;
    return STATUS_OK_VALUE;
}

static struct status fill_cwd(const Crownest__V1__CommandSpec *spec, struct arena *arena,
                              Crownest__V1__Command *command)
{
    command->cwd = spec->cwd[0] ? spec->cwd : arena_strdup(arena, PATH_WORKSPACE);
    if (command->cwd[0] != '/')
        return status_invalid("command.cwd", "CWD_INVALID", "cwd is an absolute path");
    return path_check(command->cwd, "command.cwd", "CWD_INVALID");
}

static struct status fill_user(const Crownest__V1__CommandSpec *spec, struct arena *arena,
                               Crownest__V1__Command *command)
{
    command->user = spec->user[0] ? spec->user : arena_strdup(arena, "user");
    if (strcmp(command->user, "user") != 0 && strcmp(command->user, "root") != 0)
        return status_invalid("command.user", "USER_UNKNOWN", "user is `user` or `root`");
    return STATUS_OK_VALUE;
}

static struct status check_side(const char *field, const char *side, uint32_t asked,
                                uint32_t fallback, uint32_t *ret_value)
{
    char name[64];

    *ret_value = asked ? asked : fallback;
    if (*ret_value <= LIMIT_TERMINAL_SIDE)
        return STATUS_OK_VALUE;
    (void)snprintf(name, sizeof(name), "%s.%s", field, side);
    return status_invalid(name, "TERMINAL_INVALID", "a terminal has 1 to %d %s",
                          LIMIT_TERMINAL_SIDE, side);
}

struct status check_terminal(const Crownest__V1__TerminalSize *size, const char *field,
                             uint32_t *ret_rows, uint32_t *ret_columns)
{
    struct status status = check_side(field, "rows", size->rows, DEFAULT_ROWS, ret_rows);

    if (status_is_ok(&status))
        status = check_side(field, "columns", size->columns, DEFAULT_COLUMNS, ret_columns);
    return status;
}

struct status check_command(const Crownest__V1__CommandSpec *spec, struct arena *arena,
                            Crownest__Records__CommandRecord **ret_record)
{
    Crownest__Records__CommandRecord *record = arena_alloc(arena, sizeof(*record));
    Crownest__V1__Command *command = arena_alloc(arena, sizeof(*command));

    if (!spec)
        return status_invalid("command", "COMMAND_EMPTY", "the request holds no command");
    crownest__records__command_record__init(record);
    crownest__v1__command__init(command);
    record->command = command;
    record->collect = spec->collect;
    record->n_collect = spec->n_collect;
    record->collect_when = spec->collect_when;
    command->terminal = spec->terminal != NULL;
    command->keep_stdin = spec->keep_stdin;
    *ret_record = record;
    struct status status = fill_argv(spec, arena, command);

    if (status_is_ok(&status))
        status = fill_env(spec, arena, record);
    if (status_is_ok(&status) && spec->terminal)
        status =
            check_terminal(spec->terminal, "command.terminal", &record->rows, &record->columns);
    if (status_is_ok(&status))
        status = fill_cwd(spec, arena, command);
    if (status_is_ok(&status))
        status = fill_user(spec, arena, command);
    if (status_is_ok(&status))
        status = collect_check(spec->collect, spec->n_collect, "command.collect");
    if (status_is_ok(&status) && spec->timeout &&
        protoduration_ms(spec->timeout, LIMIT_TIMEOUT_S * 1000ULL, &record->timeout_ms) < 0)
        status = status_invalid("command.timeout", "TIMEOUT_INVALID",
                                "a timeout is more than 0 and at most %d seconds", LIMIT_TIMEOUT_S);
    return status;
}

struct status check_word(const char *field, const char *word)
{
    size_t size = strlen(word);

    if (size > CHECK_WORD_MAX || strspn(word, "abcdefghijklmnopqrstuvwxyz0123456789_.:-") != size)
        return status_invalid(field, "FILTER_INVALID",
                              "%s is at most %d characters of [a-z0-9_.:-]", field, CHECK_WORD_MAX);
    return STATUS_OK_VALUE;
}

struct status check_actions(char *const *actions, size_t count)
{
    struct status status = STATUS_OK_VALUE;

    if (count > AUDIT_ACTIONS_MAX)
        return status_invalid("actions", "FILTER_INVALID", "at most %d actions", AUDIT_ACTIONS_MAX);
    for (size_t i = 0; i < count && status_is_ok(&status); i++)
        status = check_word("actions", actions[i]);
    return status;
}
