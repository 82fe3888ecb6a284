#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "bindings/c/crownest_command.h"
#include "tools/cli/connect.h"
#include "tools/cli/retry.h"

#define NUMBER_MAX 64

/* "INT", "SIGINT" or "2". 0: there is none. */
static int signal_number(const char *text)
{
    const char *name = strncmp(text, "SIG", strlen("SIG")) ? text : text + strlen("SIG");
    uint64_t number;

    if (!flags_number(text, NUMBER_MAX, &number))
        return (int)number;
    for (int i = 1; i <= NUMBER_MAX; i++) {
        const char *known = sigabbrev_np(i);

        if (known && !strcmp(known, name))
            return i;
    }
    return 0;
}

static int send_signal(const struct command *command, const struct connect_flags *connect, char *id,
                       int number)
{
    Crownest__V1__SignalCommandRequest request = CROWNEST__V1__SIGNAL_COMMAND_REQUEST__INIT;
    Crownest__V1__SignalCommandResponse *response = NULL;
    struct crownest_client *client = connect_client(command, connect);
    struct retry retry = RETRY(RETRY_FIRST_CONTACT_MS);
    char request_id[CROWNEST_REQUEST_ID_SIZE];
    struct crownest_error error;
    int code = EXIT_OK;

    if (!client)
        return EXIT_FAILED;
    crownest_request_id(request_id);
    request.request_id = request_id;
    request.command_id = id;
    request.signal = number;
    while (!code && crownest_command_signal(client, &request, NULL, &response, &error))
        if (!retry_again(&retry, &error))
            code = connect_failed(command, client, &error);
    if (response)
        crownest__v1__signal_command_response__free_unpacked(response, NULL);
    crownest_client_free(client);
    return code;
}

static int signal_run(const struct command *command, int argc, char **argv)
{
    struct connect_flags connect = {0};
    const struct flag flags[] = {CONNECT_FLAGS(&connect)};
    int first;
    enum flags_result parsed = FLAGS_PARSE(command, flags, argc, argv, &first);

    if (parsed != FLAGS_OK)
        return parsed == FLAGS_HELP ? EXIT_OK : EXIT_USAGE;
    if (argc - first != 2)
        return flags_mistake(command, "needs the id of one command, and a signal");
    int number = signal_number(argv[first + 1]);
    if (!number)
        return flags_mistake(command, "there is no signal %s", argv[first + 1]);
    return send_signal(command, &connect, argv[first], number);
}

const struct command command_signal = {
    .name = "signal",
    .operands = "COMMAND SIGNAL",
    .summary = "send a signal, as INT or 2, to every process of a command",
    .manual = "`crownest kill COMMAND` ends it whatever it does with signals.\n",
    .run = signal_run,
};
