#include <stdio.h>

#include "tools/cli/creation.h"
#include "tools/cli/json.h"

#define SECONDS_MAX (1ULL << 40)

static int create(const struct command *command, const struct connect_flags *connect,
                  const struct creation *creation, bool as_json)
{
    Crownest__V1__CreateSandboxResponse *response;
    struct crownest_client *client = connect_client(command, connect);

    if (!client)
        return EXIT_FAILED;
    int code = creation_send(creation, command, client, &response);
    if (!code) {
        if (!as_json)
            (void)puts(response->sandbox->sandbox_id);
        else if (json_print(json_from_message(&response->sandbox->base), stdout))
            code = EXIT_FAILED;
        crownest__v1__create_sandbox_response__free_unpacked(response, NULL);
    }
    crownest_client_free(client);
    return fflush(stdout) ? EXIT_FAILED : code;
}

static int create_run(const struct command *command, int argc, char **argv)
{
    struct connect_flags connect = {0};
    struct creation values = CREATION_DEFAULTS;
    bool as_json = false;
    const struct flag flags[] = {
        {"template", 0, FLAG_TEXT, &values.template, "NAME", "what to make it from (base)", 0},
        {"ttl", 0, FLAG_NUMBER, &values.ttl, "SECONDS", "its life (300)", SECONDS_MAX},
        {"lease", 0, FLAG_NUMBER, &values.lease, "SECONDS",
         "end it when there was no `heartbeat` for so long", SECONDS_MAX},
        {"parent", 0, FLAG_TEXT, &values.parent, "SANDBOX", "end it when that one ends", 0},
        {"memory", 0, FLAG_NUMBER, &values.memory, "MIB", "memory, files included (512)", 1 << 20},
        {"cpu", 0, FLAG_NUMBER, &values.cpu, "MILLIS", "thousandths of a CPU (1000)", UINT32_MAX},
        {"processes", 0, FLAG_NUMBER, &values.processes, "N", "at one time (512)", UINT32_MAX},
        {"disk", 0, FLAG_NUMBER, &values.disk, "MIB", "what it may write (1024)", 1 << 30},
        {"label", 'l', FLAG_LIST, &values.labels, "K=V", "a label of your own", 0},
        {"env", 'e', FLAG_LIST, &values.env, "K=V", "for every command; K alone passes ours on", 0},
        {"json", 0, FLAG_SWITCH, &as_json, NULL, "print all of it as JSON", 0},
        CONNECT_FLAGS(&connect),
    };
    int first;
    enum flags_result parsed = FLAGS_PARSE(command, flags, argc, argv, &first);

    if (parsed != FLAGS_OK)
        return parsed == FLAGS_HELP ? EXIT_OK : EXIT_USAGE;
    if (argc != first)
        return flags_mistake(command, "takes no operands");
    return create(command, &connect, &values, as_json);
}

const struct command command_create = {
    .name = "create",
    .operands = "",
    .summary = "create a sandbox and print its id",
    .manual =
        "`crownest run --sandbox ID` runs commands in it, `crownest kill ID` ends it; its TTL,\n"
        "its lease and its parent do, too.\n",
    .run = create_run,
};
