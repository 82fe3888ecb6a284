#include <string.h>

#include "tools/cli/connect.h"
#include "tools/cli/follow.h"

static int logs(const struct command *command, const struct connect_flags *connect,
                struct follow *follow)
{
    struct crownest_error error;

    follow->client = connect_client(command, connect);
    if (!follow->client)
        return EXIT_FAILED;
    int result = follow_logs(follow, &error);
    int code = EXIT_OK;
    if (follow->write_errno)
        code = EXIT_FAILED;
    else if (result)
        code = connect_failed(command, follow->client, &error);
    crownest_client_free(follow->client);
    return code;
}

static int logs_run(const struct command *command, int argc, char **argv)
{
    struct connect_flags connect = {0};
    struct follow follow = {.quiet = true};
    const char *stream = "";
    bool raw = false;
    const struct flag flags[] = {
        {.name = "follow",
         .letter = 'f',
         .kind = FLAG_SWITCH,
         .value = &follow.until_exit,
         .help = "go on until the command exits"},
        {.name = "offset",
         .kind = FLAG_NUMBER,
         .value = &follow.offset,
         .operand = "BYTES",
         .help = "begin there instead of at 0",
         .max = INT64_MAX},
        {.name = "tail",
         .letter = 'n',
         .kind = FLAG_NUMBER,
         .value = &follow.tail_lines,
         .operand = "LINES",
         .help = "begin with the last so many",
         .max = FOLLOW_TAIL_MAX},
        {.name = "stream",
         .kind = FLAG_TEXT,
         .value = &stream,
         .operand = "STREAM",
         .help = "`stdout` or `stderr` alone"},
        {.name = "raw",
         .kind = FLAG_SWITCH,
         .value = &raw,
         .help = "escape nothing, on a terminal either"},
        CONNECT_FLAGS(&connect),
    };
    int first;
    enum flags_result parsed = FLAGS_PARSE(command, flags, argc, argv, &first);

    if (parsed != FLAGS_OK)
        return parsed == FLAGS_HELP ? EXIT_OK : EXIT_USAGE;
    if (argc - first != 1)
        return flags_mistake(command, "needs the id of one command");
    if (strlen(argv[first]) >= sizeof(follow.command_id))
        return flags_mistake(command, "that is no command's id");
    (void)snprintf(follow.command_id, sizeof(follow.command_id), "%s", argv[first]);
    if (follow.tail_lines && follow.offset)
        return flags_mistake(command, "takes --offset or --tail, not both");
    if (!strcmp(stream, "stdout"))
        follow.stream = CROWNEST__V1__LOG_STREAM__LOG_STREAM_STDOUT;
    else if (!strcmp(stream, "stderr"))
        follow.stream = CROWNEST__V1__LOG_STREAM__LOG_STREAM_STDERR;
    else if (stream[0])
        return flags_mistake(command, "--stream is `stdout` or `stderr`");
    follow_escape(&follow, raw);
    return logs(command, &connect, &follow);
}

const struct command command_logs = {
    .name = "logs",
    .operands = "COMMAND",
    .summary = "print a command's log, live or long after its sandbox is gone",
    .manual =
        "The command's stdout goes to stdout and its stderr to stderr. Into files and pipes\n"
        "the bytes go unchanged; on a terminal control characters are escaped (\\x1b), since\n"
        "a log can be read by somebody who did not run the command. Offsets count the bytes\n"
        "of both streams.\n",
    .run = logs_run,
};
