/*
 * Creates a sandbox, runs a command in it, prints what it prints, and kills the sandbox.
 *
 *     CROWNEST_API_KEY=cnk_... hello
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>

#include "bindings/c/crownest_command.h"
#include "bindings/c/crownest_sandbox.h"

static struct crownest_error error;

static Crownest__V1__Sandbox *create(struct crownest_client *client,
                                     Crownest__V1__CreateSandboxResponse **ret_response)
{
    char request_id[CROWNEST_REQUEST_ID_SIZE];
    Crownest__V1__CreateSandboxRequest request = CROWNEST__V1__CREATE_SANDBOX_REQUEST__INIT;

    /* With a request id the call can be repeated when the answer was lost. */
    crownest_request_id(request_id);
    request.request_id = request_id;
    request.template_ = (char *)"base";
    if (crownest_sandbox_create(client, &request, NULL, ret_response, &error))
        errx(1, "create: %s %s", error.reason, error.message);
    return (*ret_response)->sandbox;
}

static int print_event(const Crownest__V1__CommandEvent *event)
{
    if (event->event_case == CROWNEST__V1__COMMAND_EVENT__EVENT_OUTPUT)
        (void)fwrite(event->output->data.data, 1, event->output->data.len, stdout);
    if (event->event_case == CROWNEST__V1__COMMAND_EVENT__EVENT_EXITED)
        return event->exited->command->exit_code;
    return 0;
}

static int run(struct crownest_client *client, char *sandbox_id)
{
    Crownest__V1__CommandSpec command = CROWNEST__V1__COMMAND_SPEC__INIT;
    Crownest__V1__RunCommandRequest request = CROWNEST__V1__RUN_COMMAND_REQUEST__INIT;
    Crownest__V1__RunCommandResponse *message;
    struct crownest_command_run_reader *reader;
    int exit_code = 0;
    int result;

    command.sandbox_id = sandbox_id;
    command.shell = (char *)"echo hello from $(hostname)";
    request.command = &command;
    if (crownest_command_run_open(client, &request, NULL, &reader, &error))
        errx(1, "run: %s", error.message);
    while ((result = crownest_command_run_next(reader, &message, &error)) > 0) {
        exit_code = print_event(message->event);
        crownest__v1__run_command_response__free_unpacked(message, NULL);
    }
    if (result)
        errx(1, "run: %s %s", error.reason, error.message);
    crownest_command_run_free(reader);
    return exit_code;
}

int main(void)
{
    struct crownest_client *client;
    Crownest__V1__CreateSandboxResponse *created;
    Crownest__V1__KillSandboxRequest kill = CROWNEST__V1__KILL_SANDBOX_REQUEST__INIT;
    Crownest__V1__KillSandboxResponse *killed;

    if (crownest_client_new(NULL, &client, &error))
        errx(1, "%s", error.message);
    kill.sandbox_id = create(client, &created)->sandbox_id;
    int exit_code = run(client, kill.sandbox_id);
    if (crownest_sandbox_kill(client, &kill, NULL, &killed, &error))
        errx(1, "kill: %s", error.message);
    crownest__v1__kill_sandbox_response__free_unpacked(killed, NULL);
    crownest__v1__create_sandbox_response__free_unpacked(created, NULL);
    crownest_client_free(client);
    return exit_code;
}
