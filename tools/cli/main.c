/* crownest: the command line. Finds the command in the table and runs it. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "tools/cli/command.h"

static const struct command *const commands[] = {
    &command_up,
    &command_down,
    &command_restart,
    &command_doctor,
    &command_projects_create,
    &command_projects_update,
    &command_projects_list,
    &command_plans_apply,
    &command_plans_delete,
    &command_plans,
    &command_keys_create,
    &command_keys_list,
    &command_keys_revoke,
    &command_operators_create,
    &command_operators_set_password,
    &command_operators_list,
    &command_operators_delete,
    &command_login,
    &command_logout,
    &command_whoami,
    &command_templates,
    &command_create,
    &command_run,
    &command_ps,
    &command_logs,
    &command_attach,
    &command_wait,
    &command_signal,
    &command_stats,
    &command_update,
    &command_heartbeat,
    &command_pause,
    &command_resume,
    &command_kill,
    &command_artifacts_list,
    &command_artifacts_get,
    &command_artifacts_delete,
    &command_audit_list,
    &command_audit_watch,
    &command_audit_export,
    &command_audit_key,
    &command_audit_verify,
    &command_buckets_create,
    &command_buckets_update,
    &command_buckets_list,
    &command_buckets_delete,
    &command_usage_receipt,
    &command_usage_verify,
    &command_usage, /* behind those whose first word it is */
    &command_webhooks_create,
    &command_webhooks_list,
    &command_webhooks_delete,
    &command_backup,
    &command_restore,
    &command_version,
};

#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

static int print_help(FILE *out)
{
    fprintf(out, "usage: crownest COMMAND [FLAGS] [OPERANDS]\n\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(out, "  %-22s %s\n", commands[i]->name, commands[i]->summary);
    fprintf(out, "\n`crownest COMMAND --help` tells more. Exit codes: 0 done, 1 failed, 2 called "
                 "wrongly;\n`run`, `attach` and `wait` have their own.\n");
    return out == stdout ? EXIT_OK : EXIT_USAGE;
}

/* How many of the arguments make up the command's name; 0: it is another command. */
static int match(const struct command *command, int argc, char **argv)
{
    const char *space = strchr(command->name, ' ');
    size_t first = space ? (size_t)(space - command->name) : strlen(command->name);

    if (strlen(argv[1]) != first || memcmp(argv[1], command->name, first) != 0)
        return 0;
    if (!space)
        return 1;
    return argc > 2 && !strcmp(argv[2], space + 1) ? 2 : 0;
}

/* `crownest keys`: the first word is right, the second missing or wrong. */
static int print_verbs(const char *noun)
{
    int found = 0;
    size_t len = strlen(noun);

    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        const char *name = commands[i]->name;

        if (strncmp(name, noun, len) != 0 || name[len] != ' ')
            continue;
        fprintf(stderr, "%s crownest %-22s %s\n", found++ ? "      " : "usage:", name,
                commands[i]->summary);
    }
    return found;
}

int main(int argc, char **argv)
{
    /* A reader that goes away ends us by an error of write, after which we clean up. */
    (void)signal(SIGPIPE, SIG_IGN);
    if (argc < 2)
        return print_help(stderr);
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help"))
        return print_help(stdout);
    if (!strcmp(argv[1], "--version"))
        return command_version.run(&command_version, 1, argv);
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        int words = match(commands[i], argc, argv);

        if (words)
            return commands[i]->run(commands[i], argc - words, argv + words);
    }
    if (!print_verbs(argv[1]))
        fprintf(stderr, "crownest: unknown command; `crownest --help` lists them\n");
    return EXIT_USAGE;
}
