/*
 * Measures CrowNest as a client sees it. Requests:
 *
 *     create TEMPLATE PROGRAM ARGUMENT...   a sandbox made, the program run in it, the sandbox
 * killed open TEMPLATE                         makes the sandbox that `exec` uses exec PROGRAM
 * ARGUMENT...              the program run in that sandbox close kills it
 */
#include <err.h>
#include <string.h>

#include "bindings/c/crownest_command.h"
#include "bindings/c/crownest_sandbox.h"
#include "tools/benchmark/measure.h"

static struct crownest_error error;

static Crownest__V1__CreateSandboxResponse *create(struct crownest_client *client, char *name)
{
    Crownest__V1__CreateSandboxRequest request = CROWNEST__V1__CREATE_SANDBOX_REQUEST__INIT;
    Crownest__V1__CreateSandboxResponse *response;

    request.template_ = name;
    if (crownest_sandbox_create(client, &request, NULL, &response, &error))
        errx(1, "create: %s %s", error.reason, error.message);
    return response;
}

static void destroy(struct crownest_client *client, Crownest__V1__CreateSandboxResponse *created)
{
    Crownest__V1__KillSandboxRequest request = CROWNEST__V1__KILL_SANDBOX_REQUEST__INIT;
    Crownest__V1__KillSandboxResponse *response;

    request.sandbox_id = created->sandbox->sandbox_id;
    if (crownest_sandbox_kill(client, &request, NULL, &response, &error))
        errx(1, "kill: %s %s", error.reason, error.message);
    crownest__v1__kill_sandbox_response__free_unpacked(response, NULL);
    crownest__v1__create_sandbox_response__free_unpacked(created, NULL);
}

static void note(const Crownest__V1__CommandEvent *event, uint64_t start,
                 struct measure *ret_measure)
{
    switch (event->event_case) {
    case CROWNEST__V1__COMMAND_EVENT__EVENT_OUTPUT:
        if (!ret_measure->bytes)
            ret_measure->first = measure_now() - start;
        ret_measure->bytes += event->output->data.len;
        break;
    case CROWNEST__V1__COMMAND_EVENT__EVENT_EXITED:
        ret_measure->exited = measure_now() - start;
        if (event->exited->command->exit_cause != CROWNEST__V1__EXIT_CAUSE__EXIT_CAUSE_EXITED ||
            event->exited->command->exit_code != 0)
            errx(1, "the command did not exit with 0");
        break;
    case CROWNEST__V1__COMMAND_EVENT__EVENT_GAP:
        errx(1, "output is missing: %s", event->gap->reason);
    default:
        break;
    }
}

static void run(struct crownest_client *client, char *sandbox_id, char **argv, size_t argc,
                uint64_t start, struct measure *ret_measure)
{
    Crownest__V1__CommandSpec command = CROWNEST__V1__COMMAND_SPEC__INIT;
    Crownest__V1__RunCommandRequest request = CROWNEST__V1__RUN_COMMAND_REQUEST__INIT;
    Crownest__V1__RunCommandResponse *message;
    struct crownest_command_run_reader *reader;
    int result;

    command.sandbox_id = sandbox_id;
    command.argv = argv;
    command.n_argv = argc;
    request.command = &command;
    if (crownest_command_run_open(client, &request, NULL, &reader, &error))
        errx(1, "run: %s %s", error.reason, error.message);
    while ((result = crownest_command_run_next(reader, &message, &error)) > 0) {
        note(message->event, start, ret_measure);
        crownest__v1__run_command_response__free_unpacked(message, NULL);
    }
    if (result || !ret_measure->exited)
        errx(1, "run: %s %s", error.reason, error.message);
    crownest_command_run_free(reader);
}

/* Does one request. *sandbox is the one that `open` made, or NULL. */
static void answer(struct crownest_client *client, char **words, size_t count,
                   Crownest__V1__CreateSandboxResponse **sandbox)
{
    struct measure measure = {0};
    uint64_t start = measure_now();

    if (!strcmp(words[0], "create") && count > 2) {
        Crownest__V1__CreateSandboxResponse *created = create(client, words[1]);
        run(client, created->sandbox->sandbox_id, words + 2, count - 2, start, &measure);
        destroy(client, created);
    } else if (!strcmp(words[0], "exec") && count > 1 && *sandbox) {
        run(client, (*sandbox)->sandbox->sandbox_id, words + 1, count - 1, start, &measure);
    } else if (!strcmp(words[0], "open") && count == 2 && !*sandbox) {
        *sandbox = create(client, words[1]);
    } else if (!strcmp(words[0], "close") && *sandbox) {
        destroy(client, *sandbox);
        *sandbox = NULL;
    } else {
        errx(2, "cannot do %s", words[0]);
    }
    measure.total = measure_now() - start;
    measure_reply(&measure);
}

int main(void)
{
    Crownest__V1__CreateSandboxResponse *sandbox = NULL;
    struct crownest_client *client;
    char *words[MEASURE_WORDS + 1];
    size_t count;

    if (crownest_client_new(NULL, &client, &error))
        errx(1, "%s", error.message);
    while ((count = measure_next(words)))
        answer(client, words, count, &sandbox);
    if (sandbox)
        destroy(client, sandbox);
    crownest_client_free(client);
    return 0;
}
