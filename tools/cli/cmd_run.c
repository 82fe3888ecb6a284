#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bindings/c/crownest_command.h"
#include "bindings/c/crownest_sandbox.h"
#include "server/util/cleanup.h"
#include "tools/cli/connect.h"
#include "tools/cli/creation.h"
#include "tools/cli/follow.h"
#include "tools/cli/input.h"
#include "tools/cli/interrupt.h"
#include "tools/cli/local_terminal.h"
#include "tools/cli/retry.h"
#include "tools/cli/spec.h"

#define SECONDS_MAX (1ULL << 40)

struct run_flags {
    struct connect_flags connect;
    struct creation creation;
    struct spec_flags spec;
    const char *sandbox;
    bool keep;
    bool detach;
    bool raw;
};

/* One run, from the creation of its sandbox to the end. */
struct run {
    const struct command *command;
    const struct run_flags *flags;
    char **argv;
    size_t argc;
    struct crownest_client *client;
    char sandbox_id[FOLLOW_ID_SIZE];
    bool created; /* the sandbox is ours to kill */
    struct follow follow;
    struct input input;
    struct interrupt interrupt;

    pthread_mutex_t lock; /* guards what the interrupt's thread looks at: */
    char command_id[FOLLOW_ID_SIZE];
    struct crownest_command_run_reader *reader; /* NULL: no stream to cancel */
    bool interrupted;
};

static int fail_call(const struct run *run, const struct crownest_error *error)
{
    local_terminal_restore();
    (void)connect_failed(run->command, run->client, error);
    return EXIT_OURS;
}

static int create_sandbox(struct run *run)
{
    Crownest__V1__CreateSandboxResponse *response;

    if (creation_send(&run->flags->creation, run->command, run->client, &response))
        return EXIT_OURS;
    (void)snprintf(run->sandbox_id, sizeof(run->sandbox_id), "%s", response->sandbox->sandbox_id);
    run->created = true;
    run->follow.heard = true;
    crownest__v1__create_sandbox_response__free_unpacked(response, NULL);
    return EXIT_OK;
}

static int kill_sandbox(struct run *run)
{
    Crownest__V1__KillSandboxRequest request = CROWNEST__V1__KILL_SANDBOX_REQUEST__INIT;
    Crownest__V1__KillSandboxResponse *response;
    struct retry retry = RETRY(RETRY_WINDOW_MS);
    struct crownest_error error;

    request.sandbox_id = run->sandbox_id;
    while (crownest_sandbox_kill(run->client, &request, NULL, &response, &error))
        if (!retry_again(&retry, &error))
            return fail_call(run, &error);
    crownest__v1__kill_sandbox_response__free_unpacked(response, NULL);
    return EXIT_OK;
}

/* False: it may go on; why was said. */
static bool cancel_command(struct run *run, char *command_id)
{
    Crownest__V1__CancelCommandRequest request = CROWNEST__V1__CANCEL_COMMAND_REQUEST__INIT;
    Crownest__V1__CancelCommandResponse *response;
    struct retry retry = RETRY(RETRY_WINDOW_MS);
    struct crownest_error error;

    request.command_id = command_id;
    while (crownest_command_cancel(run->client, &request, NULL, &response, &error)) {
        if (retry_again(&retry, &error))
            continue;
        (void)fail_call(run, &error);
        return false;
    }
    crownest__v1__cancel_command_response__free_unpacked(response, NULL);
    return true;
}

/*
 * It cannot be cancelled, as while its sandbox is paused. One that does not end with a sandbox of
 * ours is left, since nobody waits for it any more.
 */
static void leave_command(struct run *run)
{
    if (!run->created || run->flags->keep || kill_sandbox(run))
        _exit(EXIT_SIGNALED + atomic_load(&run->interrupt.received));
}

/* Runs on the interrupt's thread: cancels the command, and if it has none yet, the call. */
static void on_interrupt(void *context)
{
    struct run *run = context;
    char command_id[FOLLOW_ID_SIZE];

    (void)pthread_mutex_lock(&run->lock);
    run->interrupted = true;
    (void)strcpy(command_id, run->command_id);
    if (!command_id[0] && run->reader)
        crownest_command_run_cancel(run->reader);
    (void)pthread_mutex_unlock(&run->lock);
    if (command_id[0] && !cancel_command(run, command_id))
        leave_command(run);
}

static bool is_interrupted(struct run *run)
{
    lock_scope(&run->lock);
    return run->interrupted;
}

/* True when a signal came before the command's id did: then nobody else has cancelled it. */
static bool publish_command(struct run *run)
{
    lock_scope(&run->lock);
    if (run->command_id[0])
        return false;
    (void)strcpy(run->command_id, run->follow.command_id);
    return run->command_id[0] && run->interrupted;
}

static void publish_reader(struct run *run, struct crownest_command_run_reader *reader)
{
    lock_scope(&run->lock);
    run->reader = reader;
    if (reader && run->interrupted)
        crownest_command_run_cancel(reader);
}

/* The command has begun: it is told what came before it could be told. */
static void begin(struct run *run)
{
    const struct spec_flags *spec = &run->flags->spec;

    if (publish_command(run))
        on_interrupt(run);
    if (spec->keep_stdin && !run->input.running && run->follow.command_id[0] && !run->follow.exited)
        (void)input_start(&run->input, run->client, run->follow.command_id, 0,
                          local_terminal_is_raw());
}

/* Reads Run's stream to its end. As crownest_command_run_next, or 0 when output failed. */
static int read_stream(struct run *run, struct crownest_command_run_reader *reader,
                       struct crownest_error *error)
{
    Crownest__V1__RunCommandResponse *message;
    bool begun = false;
    int result;

    while ((result = crownest_command_run_next(reader, &message, error)) > 0) {
        int written = follow_event(&run->follow, message->event);

        crownest__v1__run_command_response__free_unpacked(message, NULL);
        if (!begun)
            begin(run);
        begun = true;
        if (written)
            return 0;
    }
    return result;
}

/* One connection. As read_stream. */
static int run_once(struct run *run, const Crownest__V1__RunCommandRequest *request,
                    struct crownest_error *error)
{
    struct crownest_command_run_reader *reader;
    int result = crownest_command_run_open(run->client, request, NULL, &reader, error);

    if (result)
        return result;
    publish_reader(run, reader);
    result = read_stream(run, reader, error);
    publish_reader(run, NULL);
    crownest_command_run_free(reader);
    return result;
}

/*
 * Asked again with the same request_id, Run attaches to the same command. Once that is known, its
 * log goes on where it was cut.
 */
static int follow_command(struct run *run, const Crownest__V1__RunCommandRequest *request,
                          struct crownest_error *error)
{
    struct follow *follow = &run->follow;
    struct retry retry = RETRY(follow->heard ? RETRY_WINDOW_MS : RETRY_FIRST_CONTACT_MS);
    int result;

    do
        result = run_once(run, request, error);
    while (result && !follow->command_id[0] && !is_interrupted(run) && retry_again(&retry, error));
    if (follow->exited || follow->write_errno || !follow->command_id[0])
        return result;
    return result && !retry_helps(error) ? result : follow_logs(follow, error);
}

static int exit_code(const struct run *run)
{
    int received = atomic_load(&run->interrupt.received);
    const struct follow *follow = &run->follow;

    if (follow->write_errno)
        return follow->write_errno == EPIPE ? EXIT_SIGNALED + SIGPIPE : EXIT_OURS;
    if (received &&
        (!follow->exited || follow->exit_cause == CROWNEST__V1__EXIT_CAUSE__EXIT_CAUSE_CANCELLED ||
         follow->exit_cause == CROWNEST__V1__EXIT_CAUSE__EXIT_CAUSE_SANDBOX_ENDED))
        return EXIT_SIGNALED + received;
    return follow->exited ? follow_exit_code(follow, run->command) : EXIT_OURS;
}

static int stream_command(struct run *run, Crownest__V1__CommandSpec *spec)
{
    Crownest__V1__RunCommandRequest request = CROWNEST__V1__RUN_COMMAND_REQUEST__INIT;
    struct crownest_error error;
    char request_id[CROWNEST_REQUEST_ID_SIZE];

    crownest_request_id(request_id);
    request.request_id = request_id;
    request.command = spec;
    if (spec->terminal && local_terminal_exists() && local_terminal_raw())
        return EXIT_OURS;
    int result = follow_command(run, &request, &error);
    if (run->follow.write_errno && !run->follow.exited)
        (void)cancel_command(run, run->follow.command_id);
    input_stop(&run->input);
    local_terminal_restore();
    if (result && !run->follow.write_errno && !atomic_load(&run->interrupt.received))
        return fail_call(run, &error);
    return exit_code(run);
}

static int start_command(struct run *run, Crownest__V1__CommandSpec *spec)
{
    Crownest__V1__StartCommandRequest request = CROWNEST__V1__START_COMMAND_REQUEST__INIT;
    Crownest__V1__StartCommandResponse *response;
    struct retry retry = RETRY(RETRY_FIRST_CONTACT_MS);
    struct crownest_error error;
    char request_id[CROWNEST_REQUEST_ID_SIZE];

    crownest_request_id(request_id);
    request.request_id = request_id;
    request.command = spec;
    while (crownest_command_start(run->client, &request, NULL, &response, &error))
        if (!retry_again(&retry, &error))
            return fail_call(run, &error);
    (void)puts(response->command->command_id);
    crownest__v1__start_command_response__free_unpacked(response, NULL);
    return EXIT_OK;
}

static int run_in_sandbox(struct run *run)
{
    struct spec *spec = spec_new(&run->flags->spec, run->sandbox_id, run->argv, run->argc);
    int code = EXIT_OURS;

    if (spec)
        code = run->flags->detach ? start_command(run, spec_message(spec))
                                  : stream_command(run, spec_message(spec));
    spec_free(spec);
    return code;
}

static int run_all(struct run *run)
{
    bool keep = run->flags->keep || run->flags->detach;
    int code = EXIT_OK;

    input_prepare();
    if (interrupt_init(&run->interrupt, on_interrupt, run))
        return EXIT_OURS;
    run->client = connect_client(run->command, &run->flags->connect);
    if (!run->client)
        code = EXIT_OURS;
    run->follow.client = run->client;
    if (!code && run->flags->sandbox)
        (void)snprintf(run->sandbox_id, sizeof(run->sandbox_id), "%s", run->flags->sandbox);
    else if (!code)
        code = create_sandbox(run);
    if (!code && run->created && keep)
        fprintf(stderr, "crownest run: sandbox %s\n", run->sandbox_id);
    if (!code)
        code = atomic_load(&run->interrupt.received)
                   ? EXIT_SIGNALED + atomic_load(&run->interrupt.received)
                   : run_in_sandbox(run);
    if (run->created && !keep && kill_sandbox(run) && !code)
        code = EXIT_OURS;
    interrupt_done(&run->interrupt);
    crownest_client_free(run->client);
    return code;
}

static int check_flags(const struct command *command, const struct run_flags *values, int operands)
{
    const char *shell = values->spec.shell;
    int mistake = 0;

    if (!shell[0] && !operands)
        mistake = flags_mistake(command, "needs a program to run, or --shell");
    else if (shell[0] && operands)
        mistake = flags_mistake(command, "takes a program or --shell, not both");
    else if (values->sandbox && values->creation.template[0])
        mistake = flags_mistake(command, "takes --sandbox or --template, not both");
    else if (values->sandbox && strlen(values->sandbox) >= FOLLOW_ID_SIZE)
        mistake = flags_mistake(command, "that is no sandbox's id");
    return mistake ? EXIT_OURS : EXIT_OK;
}

static int run_run(const struct command *command, int argc, char **argv)
{
    struct run_flags values = {
        .creation = CREATION_DEFAULTS,
        .spec = {.shell = "", .cwd = "", .user = "", .timeout = SPEC_NO_TIMEOUT}};
    struct spec_flags *spec = &values.spec;
    const struct flag flags[] = {
        {"template", 0, FLAG_TEXT, &values.creation.template, "NAME",
         "what to make the sandbox from (base)", 0},
        {"sandbox", 0, FLAG_TEXT, &values.sandbox, "SANDBOX", "run in this one, and leave it alive",
         0},
        {"ttl", 0, FLAG_NUMBER, &values.creation.ttl, "SECONDS", "the new sandbox's life (300)",
         SECONDS_MAX},
        {"timeout", 0, FLAG_NUMBER, &spec->timeout, "SECONDS", "kill the command after this time",
         SECONDS_MAX},
        {"shell", 0, FLAG_TEXT, (void *)&spec->shell, "LINE",
         "run a line of shell instead of a program", 0},
        {"tty", 't', FLAG_SWITCH, &spec->terminal, NULL,
         "give it a terminal; ours is then all its own", 0},
        {"stdin", 'i', FLAG_SWITCH, &spec->keep_stdin, NULL, "pass our standard input on to it", 0},
        {"env", 'e', FLAG_LIST, &spec->env, "K=V", "set a variable; K alone passes ours on", 0},
        {"cwd", 0, FLAG_TEXT, &spec->cwd, "DIRECTORY", "where in the sandbox (/workspace)", 0},
        {"user", 0, FLAG_TEXT, &spec->user, "USER", "`user` (the default) or `root`", 0},
        {"collect", 0, FLAG_LIST, &spec->collect, "PATH",
         "on exit code 0 make artifacts of these files", 0},
        {"keep", 0, FLAG_SWITCH, &values.keep, NULL, "do not kill the new sandbox at the end", 0},
        {"detach", 0, FLAG_SWITCH, &values.detach, NULL,
         "print the command's id and do not wait; implies --keep", 0},
        {"raw", 0, FLAG_SWITCH, &values.raw, NULL, "escape nothing, on a terminal either", 0},
        CONNECT_FLAGS(&values.connect),
    };
    int first;
    enum flags_result parsed =
        flags_parse(command, flags, sizeof(flags) / sizeof(flags[0]), true, argc, argv, &first);

    if (parsed != FLAGS_OK)
        return parsed == FLAGS_HELP ? EXIT_OK : EXIT_OURS;
    int code = check_flags(command, &values, argc - first);
    if (code)
        return code;
    /* A terminal without keys is of use only to programs that look whether they have one. */
    spec->keep_stdin = spec->keep_stdin || (spec->terminal && local_terminal_exists());
    struct run run = {
        .command = command,
        .flags = &values,
        .argv = argv + first,
        .argc = (size_t)(argc - first),
        .follow = {.until_exit = true},
        .lock = PTHREAD_MUTEX_INITIALIZER,
    };
    follow_escape(&run.follow, values.raw || spec->terminal);
    return run_all(&run);
}

const struct command command_run = {
    .name = "run",
    .operands = "[--] PROGRAM [ARGUMENT...]",
    .summary = "run a command in a sandbox, new or given, and stream its output",
    .manual =
        "A new sandbox is killed at the end, unless --keep is given. Into files and pipes output\n"
        "goes as it is; on a terminal control characters are escaped (\\x1b), unless --raw or\n"
        "--tty is given. When the connection is cut, the stream resumes where it was, and input\n"
        "is sent again without being taken twice. SIGINT, SIGTERM and SIGHUP cancel the command;\n"
        "a second one ends this program at once.\n\n"
        "With --tty the command's terminal has the size of ours, follows its changes, and gets\n"
        "every key, Ctrl-C as well; `~.` at the beginning of a line cancels the command. One\n"
        "that cannot be cancelled, as while its sandbox is paused, is left.\n\n"
        "exit codes:\n"
        "  N      the command's own\n"
        "  124    its timeout passed\n"
        "  125    crownest failed, or the command was lost; stderr says how\n"
        "  128+N  signal N ended the command, or this program cancelled it on signal N\n",
    .run = run_run,
};
