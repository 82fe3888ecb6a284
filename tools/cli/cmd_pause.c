#include <stdio.h>

#include "bindings/c/crownest_sandbox.h"
#include "tools/cli/connect.h"
#include "tools/cli/retry.h"

static int pause_one(const struct command *command, struct crownest_client *client, char *id)
{
    Crownest__V1__PauseSandboxRequest request = CROWNEST__V1__PAUSE_SANDBOX_REQUEST__INIT;
    Crownest__V1__PauseSandboxResponse *response;
    struct retry retry = RETRY(RETRY_FIRST_CONTACT_MS);
    struct crownest_error error;

    request.sandbox_id = id;
    while (crownest_sandbox_pause(client, &request, NULL, &response, &error))
        if (!retry_again(&retry, &error))
            return connect_failed(command, client, &error);
    (void)puts(response->sandbox->sandbox_id);
    crownest__v1__pause_sandbox_response__free_unpacked(response, NULL);
    return EXIT_OK;
}

static int resume_one(const struct command *command, struct crownest_client *client, char *id)
{
    Crownest__V1__ResumeSandboxRequest request = CROWNEST__V1__RESUME_SANDBOX_REQUEST__INIT;
    Crownest__V1__ResumeSandboxResponse *response;
    struct retry retry = RETRY(RETRY_FIRST_CONTACT_MS);
    struct crownest_error error;

    request.sandbox_id = id;
    while (crownest_sandbox_resume(client, &request, NULL, &response, &error))
        if (!retry_again(&retry, &error))
            return connect_failed(command, client, &error);
    (void)puts(response->sandbox->sandbox_id);
    crownest__v1__resume_sandbox_response__free_unpacked(response, NULL);
    return EXIT_OK;
}

static int pause_run(const struct command *command, int argc, char **argv)
{
    return connect_each(command, argc, argv, "a sandbox", pause_one);
}

static int resume_run(const struct command *command, int argc, char **argv)
{
    return connect_each(command, argc, argv, "a sandbox", resume_one);
}

const struct command command_pause = {
    .name = "pause",
    .operands = "SANDBOX...",
    .summary = "stop every process of sandboxes where it is",
    .manual = "Prints the id of each. Its TTL and its lease go on; it takes no commands.\n",
    .run = pause_run,
};

const struct command command_resume = {
    .name = "resume",
    .operands = "SANDBOX...",
    .summary = "let the processes of paused sandboxes go on",
    .manual = "Prints the id of each.\n",
    .run = resume_run,
};
