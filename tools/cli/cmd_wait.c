#include <stdio.h>
#include <string.h>

#include "tools/cli/connect.h"
#include "tools/cli/follow.h"
#include "tools/cli/json.h"

static int print_command(const struct command *command, struct crownest_client *client, char *id)
{
    Crownest__V1__GetCommandRequest request = CROWNEST__V1__GET_COMMAND_REQUEST__INIT;
    Crownest__V1__GetCommandResponse *response;
    struct crownest_error error;

    request.command_id = id;
    if (crownest_command_get(client, &request, NULL, &response, &error)) {
        (void)connect_failed(command, client, &error);
        return EXIT_OURS;
    }
    int result = json_print(json_from_message(&response->command->base), stdout);
    crownest__v1__get_command_response__free_unpacked(response, NULL);
    return result ? EXIT_OURS : EXIT_OK;
}

static int wait_for(const struct command *command, const struct connect_flags *connect, char *id,
                    bool as_json)
{
    struct follow follow = {.until_exit = true, .discard = true, .quiet = true};
    struct crownest_error error;
    int code = EXIT_OK;

    (void)snprintf(follow.command_id, sizeof(follow.command_id), "%s", id);
    follow.client = connect_client(command, connect);
    if (!follow.client)
        return EXIT_OURS;
    if (follow_logs(&follow, &error)) {
        (void)connect_failed(command, follow.client, &error);
        code = EXIT_OURS;
    } else if (as_json) {
        code = print_command(command, follow.client, id);
    }
    if (!code)
        code = follow_exit_code(&follow, command);
    crownest_client_free(follow.client);
    return code;
}

static int wait_run(const struct command *command, int argc, char **argv)
{
    struct connect_flags connect = {0};
    bool as_json = false;
    const struct flag flags[] = {
        {"json", 0, FLAG_SWITCH, &as_json, NULL, "print the command as JSON at its end", 0},
        CONNECT_FLAGS(&connect),
    };
    int first;
    enum flags_result parsed = FLAGS_PARSE(command, flags, argc, argv, &first);

    if (parsed != FLAGS_OK)
        return parsed == FLAGS_HELP ? EXIT_OK : EXIT_OURS;
    if (argc - first == 1 && strlen(argv[first]) < FOLLOW_ID_SIZE)
        return wait_for(command, &connect, argv[first], as_json);
    (void)flags_mistake(command, "needs the id of one command");
    return EXIT_OURS;
}

const struct command command_wait = {
    .name = "wait",
    .operands = "COMMAND",
    .summary = "wait for the end of a command",
    .manual = "The exit code is that of the command, as `crownest run` has it.\n",
    .run = wait_run,
};
