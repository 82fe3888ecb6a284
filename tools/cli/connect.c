#include "tools/cli/connect.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/cli/session_file.h"
#include "tools/cli/text.h"

#define CODE_UNAVAILABLE 14
#define CODE_UNAUTHENTICATED 16

static const char *target_of(const struct connect_flags *flags)
{
    const char *variable = getenv("CROWNEST_URL");
    const char *url = flags->url ? flags->url : variable && variable[0] ? variable : NULL;

    return url ? url : CONNECT_DEFAULT_URL;
}

bool connect_is_local(const struct connect_flags *flags)
{
    return !strncmp(target_of(flags), "unix:", strlen("unix:"));
}

/* api_key NULL: CROWNEST_API_KEY, if set. */
static struct crownest_client *open_client(const struct command *command,
                                           const struct connect_flags *flags, const char *api_key)
{
    struct crownest_client_options options = {
        .target = target_of(flags),
        .api_key = connect_is_local(flags) ? "" : api_key,
        .project = flags->project,
    };
    struct crownest_client *client;
    struct crownest_error error;

    if (!crownest_client_new(&options, &client, &error))
        return client;
    fprintf(stderr, "crownest %s: %s\n", command->name, error.message);
    return NULL;
}

struct crownest_client *connect_client_without(const struct command *command,
                                               const struct connect_flags *flags)
{
    return open_client(command, flags, "");
}

struct crownest_client *connect_client_session(const struct command *command,
                                               const struct connect_flags *flags)
{
    char token[SESSION_FILE_TOKEN_SIZE] = "";
    struct err err = {0};
    int r = session_file_find(target_of(flags), token, &err);

    if (r < 0) {
        fprintf(stderr, "crownest %s: %s\n", command->name,
                r == -ENOENT ? "nobody is logged in to this service" : err.message);
        return NULL;
    }
    struct crownest_client *client = open_client(command, flags, token);

    explicit_bzero(token, sizeof(token));
    return client;
}

struct crownest_client *connect_client(const struct command *command,
                                       const struct connect_flags *flags)
{
    const char *key = getenv("CROWNEST_API_KEY");
    char token[SESSION_FILE_TOKEN_SIZE] = "";
    struct err err = {0};
    int r = -ENOENT;

    if (!connect_is_local(flags) && !(key && key[0]))
        r = session_file_find(target_of(flags), token, &err);
    if (r < 0 && err.message[0])
        fprintf(stderr, "crownest %s: %s\n", command->name, err.message);
    struct crownest_client *client = open_client(command, flags, r == 0 ? token : NULL);

    explicit_bzero(token, sizeof(token));
    return client;
}

static void print_advice(const struct crownest_client *client, const struct crownest_error *error)
{
    if (error->code == CODE_UNAVAILABLE && !error->reason[0])
        fprintf(stderr, "  Is the service running at %s? `crownest up` starts it.\n",
                crownest_client_target(client));
    if (error->code == CODE_UNAUTHENTICATED && !strncmp(error->reason, "KEY_", strlen("KEY_")))
        fprintf(stderr,
                "  Export a key as CROWNEST_API_KEY; `crownest keys create` mints one; or be an "
                "operator: `crownest login`.\n");
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

int connect_each(const struct command *command, int argc, char **argv, const char *what,
                 int (*act)(const struct command *command, struct crownest_client *client,
                            char *id))
{
    struct connect_flags connect = {0};
    const struct flag flags[] = {CONNECT_FLAGS(&connect)};
    int first;
    enum flags_result parsed = FLAGS_PARSE(command, flags, argc, argv, &first);
    int code = EXIT_OK;

    if (parsed != FLAGS_OK)
        return parsed == FLAGS_HELP ? EXIT_OK : EXIT_USAGE;
    if (argc == first)
        return flags_mistake(command, "needs the id of %s", what);
    struct crownest_client *client = connect_client(command, &connect);
    if (!client)
        return EXIT_FAILED;
    for (int i = first; i < argc; i++)
        if (act(command, client, argv[i]))
            code = EXIT_FAILED;
    crownest_client_free(client);
    return fflush(stdout) ? EXIT_FAILED : code;
}
