#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bindings/c/crownest_command.h"
#include "tools/cli/connect.h"
#include "tools/cli/follow.h"
#include "tools/cli/input.h"
#include "tools/cli/interrupt.h"
#include "tools/cli/local_terminal.h"
#include "tools/cli/retry.h"

#define TAIL_DEFAULT 10

struct attach_flags {
    struct connect_flags connect;
    uint64_t tail;
    bool keep_stdin;
    bool raw;
};

/* Runs on the interrupt's thread. The command is not ours to end, and nothing of ours is left. */
static void on_interrupt(void *context)
{
    const struct interrupt *interrupt = context;
    const char *begin = local_terminal_is_raw() ? "\n" : "";

    local_terminal_restore();
    fprintf(stderr, "%scrownest attach: left; the command goes on\n", begin);
    _exit(EXIT_SIGNALED + atomic_load(&interrupt->received));
}

/* Whether the command runs, has a terminal, and has an input that is open. */
static int look(struct crownest_client *client, char *id, bool *ret_terminal, bool *ret_input,
                struct crownest_error *error)
{
    Crownest__V1__GetCommandRequest request = CROWNEST__V1__GET_COMMAND_REQUEST__INIT;
    Crownest__V1__GetCommandResponse *response;
    struct retry retry = RETRY(RETRY_FIRST_CONTACT_MS);
    int result;

    request.command_id = id;
    do
        result = crownest_command_get(client, &request, NULL, &response, error);
    while (result && retry_again(&retry, error));
    if (result)
        return result;
    *ret_input = response->command->keep_stdin && !response->command->end_time;
    *ret_terminal = response->command->terminal;
    crownest__v1__get_command_response__free_unpacked(response, NULL);
    return 0;
}

/* Our keys are the command's from now on, or with -i whatever our input is. */
static int start_input(struct input *input, const struct attach_flags *flags, struct follow *follow,
                       struct crownest_error *error)
{
    bool terminal;
    bool has_input;
    uint64_t offset;
    int result = look(follow->client, follow->command_id, &terminal, &has_input, error);

    if (result)
        return result;
    follow_escape(follow, flags->raw || terminal);
    terminal = terminal && local_terminal_exists();
    if (!has_input || (!terminal && !flags->keep_stdin))
        return 0;
    result = input_find_offset(follow->client, follow->command_id, &offset, error);
    if (result)
        return input_is_unwanted(error) ? 0 : result;
    if (terminal)
        (void)local_terminal_raw();
    (void)input_start(input, follow->client, follow->command_id, offset, local_terminal_is_raw());
    return 0;
}

static int attach(const struct command *command, const struct attach_flags *flags, char *id)
{
    struct follow follow = {.until_exit = true, .quiet = true, .tail_lines = flags->tail};
    struct input input = {.running = false};
    struct interrupt interrupt;
    struct crownest_error error;

    (void)snprintf(follow.command_id, sizeof(follow.command_id), "%s", id);
    input_prepare();
    if (interrupt_init(&interrupt, on_interrupt, &interrupt))
        return EXIT_OURS;
    follow.client = connect_client(command, &flags->connect);
    if (!follow.client)
        return EXIT_OURS;
    int result = start_input(&input, flags, &follow, &error);
    if (!result)
        result = follow_logs(&follow, &error);
    input_stop(&input);
    local_terminal_restore();
    int code = EXIT_OURS;
    if (result && !follow.write_errno)
        (void)connect_failed(command, follow.client, &error);
    else if (!result)
        code = follow_exit_code(&follow, command);
    interrupt_done(&interrupt);
    crownest_client_free(follow.client);
    return code;
}

static int attach_run(const struct command *command, int argc, char **argv)
{
    struct attach_flags values = {.tail = TAIL_DEFAULT};
    const struct flag flags[] = {
        {"stdin", 'i', FLAG_SWITCH, &values.keep_stdin, NULL,
         "pass our standard input on, also if it is no terminal", 0},
        {"tail", 'n', FLAG_NUMBER, &values.tail, "LINES",
         "begin with the last so many (10); 0: with all", FOLLOW_TAIL_MAX},
        {"raw", 0, FLAG_SWITCH, &values.raw, NULL, "escape nothing, on a terminal either", 0},
        CONNECT_FLAGS(&values.connect),
    };
    int first;
    enum flags_result parsed = FLAGS_PARSE(command, flags, argc, argv, &first);

    if (parsed != FLAGS_OK)
        return parsed == FLAGS_HELP ? EXIT_OK : EXIT_OURS;
    if (argc - first == 1 && strlen(argv[first]) < FOLLOW_ID_SIZE)
        return attach(command, &values, argv[first]);
    (void)flags_mistake(command, "needs the id of one command");
    return EXIT_OURS;
}

const struct command command_attach = {
    .name = "attach",
    .operands = "COMMAND",
    .summary = "show a running command's output, and give it our keys if it has a terminal",
    .manual =
        "Ends with the command, and with its exit code as `crownest run` has it. Its terminal\n"
        "gets the size of ours. Keys are for a command that was started with --stdin; let one\n"
        "type at a time. `~.` at the beginning of a line, SIGINT, SIGTERM and SIGHUP leave the\n"
        "command, which goes on.\n",
    .run = attach_run,
};
