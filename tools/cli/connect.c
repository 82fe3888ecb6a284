#include "tools/cli/connect.h"

#include <stdlib.h>
#include <string.h>

#include "tools/cli/text.h"

#define CODE_UNAVAILABLE 14
#define CODE_UNAUTHENTICATED 16

struct crownest_client *connect_client(const struct command *command,
                                       const struct connect_flags *flags)
{
    const char *variable = getenv("CROWNEST_URL");
    const char *url = flags->url ? flags->url : variable && variable[0] ? variable : NULL;
    struct crownest_client_options options = {
        .target = url ? url : CONNECT_DEFAULT_URL,
        .project = flags->project,
    };
    struct crownest_client *client;
    struct crownest_error error;

    if (!strncmp(options.target, "unix:", strlen("unix:")))
        options.api_key = "";
    if (!crownest_client_new(&options, &client, &error))
        return client;
    fprintf(stderr, "crownest %s: %s\n", command->name, error.message);
    return NULL;
}

static void print_advice(const struct crownest_client *client, const struct crownest_error *error)
{
    if (error->code == CODE_UNAVAILABLE && !error->reason[0])
        fprintf(stderr, "  Is the service running at %s? `crownest up` starts it.\n",
                crownest_client_target(client));
    if (error->code == CODE_UNAUTHENTICATED)
        fprintf(stderr, "  Export a key as CROWNEST_API_KEY; `crownest keys create` mints one.\n");
    if (error->request_id[0])
        fprintf(stderr, "  request: %s\n", error->request_id);
}

int connect_failed(const struct command *command, const struct crownest_client *client,
                   const struct crownest_error *error)
{
    fprintf(stderr, "crownest %s: ", command->name);
    text_print(error->message[0] ? error->message : crownest_code_name(error->code), stderr);
    if (error->reason[0]) {
        fputs(" (", stderr);
        text_print(error->reason, stderr);
        if (error->field[0]) {
            fputs(" at ", stderr);
            text_print(error->field, stderr);
        }
        fputc(')', stderr);
    }
    fputc('\n', stderr);
    print_advice(client, error);
    return EXIT_FAILED;
}
