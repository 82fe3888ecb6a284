#include <stdio.h>
#include <string.h>

#include "bindings/c/crownest_command.h"
#include "bindings/c/crownest_sandbox.h"
#include "tools/cli/connect.h"
#include "tools/cli/retry.h"

static int kill_sandbox(const struct command *command, struct crownest_client *client, char *id)
{
    Crownest__V1__KillSandboxRequest request = CROWNEST__V1__KILL_SANDBOX_REQUEST__INIT;
    Crownest__V1__KillSandboxResponse *response;
    struct retry retry = RETRY(RETRY_FIRST_CONTACT_MS);
    struct crownest_error error;

    request.sandbox_id = id;
    while (crownest_sandbox_kill(client, &request, NULL, &response, &error))
        if (!retry_again(&retry, &error))
            return connect_failed(command, client, &error);
    (void)puts(response->sandbox->sandbox_id);
    crownest__v1__kill_sandbox_response__free_unpacked(response, NULL);
    return EXIT_OK;
}

static int cancel_command(const struct command *command, struct crownest_client *client, char *id)
{
    Crownest__V1__CancelCommandRequest request = CROWNEST__V1__CANCEL_COMMAND_REQUEST__INIT;
    Crownest__V1__CancelCommandResponse *response;
    struct retry retry = RETRY(RETRY_FIRST_CONTACT_MS);
    struct crownest_error error;

    request.command_id = id;
    while (crownest_command_cancel(client, &request, NULL, &response, &error))
        if (!retry_again(&retry, &error))
            return connect_failed(command, client, &error);
    (void)puts(response->command->command_id);
    crownest__v1__cancel_command_response__free_unpacked(response, NULL);
    return EXIT_OK;
}

static int kill_one(const struct command *command, struct crownest_client *client, char *id)
{
    bool is_command = !strncmp(id, "cmd_", strlen("cmd_"));

    return (is_command ? cancel_command : kill_sandbox)(command, client, id);
}

static int kill_run(const struct command *command, int argc, char **argv)
{
    return connect_each(command, argc, argv, "a sandbox or a command", kill_one);
}

const struct command command_kill = {
    .name = "kill",
    .operands = "SANDBOX|COMMAND...",
    .summary = "kill sandboxes, or cancel single commands",
    .manual = "Prints the id of each when nothing of it runs any more. Logs and artifacts stay.\n",
    .run = kill_run,
};
