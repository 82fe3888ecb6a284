#include <stdio.h>
#include <string.h>

#include "bindings/c/crownest_command.h"
#include "bindings/c/crownest_sandbox.h"
#include "tools/cli/connect.h"

static int kill_sandbox(const struct command *command, struct crownest_client *client, char *id)
{
    Crownest__V1__KillSandboxRequest request = CROWNEST__V1__KILL_SANDBOX_REQUEST__INIT;
    Crownest__V1__KillSandboxResponse *response;
    struct crownest_error error;

    request.sandbox_id = id;
    if (crownest_sandbox_kill(client, &request, NULL, &response, &error))
        return connect_failed(command, client, &error);
    (void)puts(response->sandbox->sandbox_id);
    crownest__v1__kill_sandbox_response__free_unpacked(response, NULL);
    return EXIT_OK;
}

static int cancel_command(const struct command *command, struct crownest_client *client, char *id)
{
    Crownest__V1__CancelCommandRequest request = CROWNEST__V1__CANCEL_COMMAND_REQUEST__INIT;
    Crownest__V1__CancelCommandResponse *response;
    struct crownest_error error;

    request.command_id = id;
    if (crownest_command_cancel(client, &request, NULL, &response, &error))
        return connect_failed(command, client, &error);
    (void)puts(response->command->command_id);
    crownest__v1__cancel_command_response__free_unpacked(response, NULL);
    return EXIT_OK;
}

static int kill_run(const struct command *command, int argc, char **argv)
{
    struct connect_flags connect = {0};
    const struct flag flags[] = {CONNECT_FLAGS(&connect)};
    int first;
    enum flags_result parsed = FLAGS_PARSE(command, flags, argc, argv, &first);
    int code = EXIT_OK;

    if (parsed != FLAGS_OK)
        return parsed == FLAGS_HELP ? EXIT_OK : EXIT_USAGE;
    if (argc == first)
        return flags_mistake(command, "needs the id of a sandbox or a command");
    struct crownest_client *client = connect_client(command, &connect);
    if (!client)
        return EXIT_FAILED;
    for (int i = first; i < argc; i++) {
        bool is_command = !strncmp(argv[i], "cmd_", strlen("cmd_"));

        if ((is_command ? cancel_command : kill_sandbox)(command, client, argv[i]))
            code = EXIT_FAILED;
    }
    crownest_client_free(client);
    return code;
}

const struct command command_kill = {
    .name = "kill",
    .operands = "SANDBOX|COMMAND...",
    .summary = "kill sandboxes, or cancel single commands",
    .manual = "Prints the id of each when nothing of it runs any more. Logs and artifacts stay.\n",
    .run = kill_run,
};
