#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "bindings/c/crownest_command.h"
#include "bindings/c/crownest_sandbox.h"
#include "server/util/cleanup.h"
#include "tools/cli/connect.h"
#include "tools/cli/follow.h"
#include "tools/cli/interrupt.h"

#define UNSET UINT64_MAX
#define SECONDS_MAX (1ULL << 40)

struct run_flags {
    struct connect_flags connect;
    const char *template;
    const char *sandbox;
    const char *shell;
    const char *cwd;
    const char *user;
    uint64_t ttl;
    uint64_t timeout; /* UNSET: none */
    struct flag_list env;
    struct flag_list collect;
    bool keep;
    bool detach;
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

    pthread_mutex_t lock; /* guards what the interrupt's thread looks at: */
    char command_id[FOLLOW_ID_SIZE];
    struct crownest_command_run_reader *reader; /* NULL: no stream to cancel */
    bool interrupted;
};

static int fail_call(const struct run *run, const struct crownest_error *error)
{
    (void)connect_failed(run->command, run->client, error);
    return EXIT_OURS;
}

static int create_sandbox(struct run *run)
{
    Google__Protobuf__Duration ttl = GOOGLE__PROTOBUF__DURATION__INIT;
    Crownest__V1__CreateSandboxRequest request = CROWNEST__V1__CREATE_SANDBOX_REQUEST__INIT;
    Crownest__V1__CreateSandboxResponse *response;
    struct crownest_error error;
    char request_id[CROWNEST_REQUEST_ID_SIZE];

    crownest_request_id(request_id);
    ttl.seconds = (int64_t)run->flags->ttl;
    request.request_id = request_id;
    request.template_ = (char *)run->flags->template;
    request.ttl = &ttl;
    if (crownest_sandbox_create(run->client, &request, NULL, &response, &error))
        return fail_call(run, &error);
    (void)snprintf(run->sandbox_id, sizeof(run->sandbox_id), "%s", response->sandbox->sandbox_id);
    run->created = true;
    crownest__v1__create_sandbox_response__free_unpacked(response, NULL);
    return EXIT_OK;
}

static int kill_sandbox(struct run *run)
{
    Crownest__V1__KillSandboxRequest request = CROWNEST__V1__KILL_SANDBOX_REQUEST__INIT;
    Crownest__V1__KillSandboxResponse *response;
    struct crownest_error error;

    request.sandbox_id = run->sandbox_id;
    if (crownest_sandbox_kill(run->client, &request, NULL, &response, &error))
        return fail_call(run, &error);
    crownest__v1__kill_sandbox_response__free_unpacked(response, NULL);
    return EXIT_OK;
}

/* Runs on the interrupt's thread: cancels the command, and if it has none yet, the call. */
static void on_interrupt(void *context)
{
    struct run *run = context;
    Crownest__V1__CancelCommandRequest request = CROWNEST__V1__CANCEL_COMMAND_REQUEST__INIT;
    Crownest__V1__CancelCommandResponse *response;
    struct crownest_error error;
    char command_id[FOLLOW_ID_SIZE];

    (void)pthread_mutex_lock(&run->lock);
    run->interrupted = true;
    (void)strcpy(command_id, run->command_id);
    if (!command_id[0] && run->reader)
        crownest_command_run_cancel(run->reader);
    (void)pthread_mutex_unlock(&run->lock);
    if (!command_id[0])
        return;
    request.command_id = command_id;
    if (crownest_command_cancel(run->client, &request, NULL, &response, &error))
        (void)connect_failed(run->command, run->client, &error);
    else
        crownest__v1__cancel_command_response__free_unpacked(response, NULL);
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

/* Reads Run's stream to its end. As crownest_command_run_next, or 0 when output failed. */
static int read_stream(struct run *run, struct crownest_command_run_reader *reader,
                       struct crownest_error *error)
{
    Crownest__V1__RunCommandResponse *message;
    int result;

    while ((result = crownest_command_run_next(reader, &message, error)) > 0) {
        int written = follow_event(&run->follow, message->event);

        crownest__v1__run_command_response__free_unpacked(message, NULL);
        if (publish_command(run))
            on_interrupt(run);
        if (written)
            return 0;
    }
    return result;
}

static int exit_code(const struct run *run, int received)
{
    const struct follow *follow = &run->follow;

    if (follow->write_errno)
        return follow->write_errno == EPIPE ? EXIT_SIGNALED + SIGPIPE : EXIT_OURS;
    if (received &&
        (!follow->exited || follow->exit_cause == CROWNEST__V1__EXIT_CAUSE__EXIT_CAUSE_CANCELLED))
        return EXIT_SIGNALED + received;
    if (!follow->exited)
        return EXIT_OURS;
    switch (follow->exit_cause) {
    case CROWNEST__V1__EXIT_CAUSE__EXIT_CAUSE_EXITED:
        return follow->exit_code & 0xff;
    case CROWNEST__V1__EXIT_CAUSE__EXIT_CAUSE_SIGNALED:
        return EXIT_SIGNALED + follow->exit_signal;
    case CROWNEST__V1__EXIT_CAUSE__EXIT_CAUSE_TIMEOUT:
        fprintf(stderr, "crownest run: the command's timeout passed\n");
        return EXIT_TIMED_OUT;
    default: {
        const ProtobufCEnumValue *cause = protobuf_c_enum_descriptor_get_value(
            &crownest__v1__exit_cause__descriptor, (int)follow->exit_cause);

        fprintf(stderr, "crownest run: the command ended: %s\n",
                cause ? cause->name + sizeof("EXIT_CAUSE_") - 1 : "for a reason unknown here");
        return EXIT_OURS;
    }
    }
}

static int stream_command(struct run *run, Crownest__V1__CommandSpec *spec,
                          struct interrupt *interrupt)
{
    Crownest__V1__RunCommandRequest request = CROWNEST__V1__RUN_COMMAND_REQUEST__INIT;
    struct crownest_command_run_reader *reader;
    struct crownest_error error;
    char request_id[CROWNEST_REQUEST_ID_SIZE];

    crownest_request_id(request_id);
    request.request_id = request_id;
    request.command = spec;
    if (crownest_command_run_open(run->client, &request, NULL, &reader, &error))
        return fail_call(run, &error);
    publish_reader(run, reader);
    int result = read_stream(run, reader, &error);
    publish_reader(run, NULL);
    crownest_command_run_free(reader);
    if (result && error.retryable && run->follow.command_id[0])
        result = follow_logs(&run->follow, &error);
    if (run->follow.write_errno && !run->follow.exited)
        on_interrupt(run);
    else if (result && !atomic_load(&interrupt->received))
        return fail_call(run, &error);
    return exit_code(run, atomic_load(&interrupt->received));
}

static int start_command(struct run *run, Crownest__V1__CommandSpec *spec)
{
    Crownest__V1__StartCommandRequest request = CROWNEST__V1__START_COMMAND_REQUEST__INIT;
    Crownest__V1__StartCommandResponse *response;
    struct crownest_error error;
    char request_id[CROWNEST_REQUEST_ID_SIZE];

    crownest_request_id(request_id);
    request.request_id = request_id;
    request.command = spec;
    if (crownest_command_start(run->client, &request, NULL, &response, &error))
        return fail_call(run, &error);
    (void)puts(response->command->command_id);
    crownest__v1__start_command_response__free_unpacked(response, NULL);
    return EXIT_OK;
}

/* The parts of a request that point to each other; valid as long as the struct stays where it is.
 */
struct spec {
    Crownest__V1__CommandSpec command;
    Google__Protobuf__Duration timeout;
    Crownest__V1__CommandSpec__EnvEntry env[FLAG_LIST_MAX];
    Crownest__V1__CommandSpec__EnvEntry *env_pointers[FLAG_LIST_MAX];
    Crownest__V1__CollectItem collect[FLAG_LIST_MAX];
    Crownest__V1__CollectItem *collect_pointers[FLAG_LIST_MAX];
    char *names[FLAG_LIST_MAX]; /* of env; allocated */
};

/* K=V sets a variable; K alone passes ours on, if it is set. */
static int add_env(struct spec *spec, const char *text)
{
    const char *equals = strchr(text, '=');
    const char *value = equals ? equals + 1 : getenv(text);
    size_t at = spec->command.n_env;

    if (!value)
        return 0;
    spec->names[at] = equals ? strndup(text, (size_t)(equals - text)) : strdup(text);
    if (!spec->names[at])
        return -ENOMEM;
    crownest__v1__command_spec__env_entry__init(&spec->env[at]);
    spec->env[at].key = spec->names[at];
    spec->env[at].value = (char *)value;
    spec->env_pointers[at] = &spec->env[at];
    spec->command.n_env++;
    return 0;
}

static int fill_spec(struct spec *spec, struct run *run)
{
    const struct run_flags *flags = run->flags;

    crownest__v1__command_spec__init(&spec->command);
    spec->command.sandbox_id = run->sandbox_id;
    spec->command.argv = run->argv;
    spec->command.n_argv = run->argc;
    spec->command.shell = (char *)flags->shell;
    spec->command.cwd = (char *)flags->cwd;
    spec->command.user = (char *)flags->user;
    for (size_t i = 0; i < flags->env.count; i++)
        if (add_env(spec, flags->env.items[i]))
            return -ENOMEM;
    spec->command.env = spec->env_pointers;
    for (size_t i = 0; i < flags->collect.count; i++) {
        crownest__v1__collect_item__init(&spec->collect[i]);
        spec->collect[i].path = (char *)flags->collect.items[i];
        spec->collect_pointers[i] = &spec->collect[i];
    }
    spec->command.collect = spec->collect_pointers;
    spec->command.n_collect = flags->collect.count;
    if (flags->timeout != UNSET) {
        google__protobuf__duration__init(&spec->timeout);
        spec->timeout.seconds = (int64_t)flags->timeout;
        spec->command.timeout = &spec->timeout;
    }
    return 0;
}

static int run_in_sandbox(struct run *run, struct interrupt *interrupt)
{
    struct spec *spec = calloc(1, sizeof(*spec));
    int code = EXIT_OURS;

    if (spec && !fill_spec(spec, run))
        code = run->flags->detach ? start_command(run, &spec->command)
                                  : stream_command(run, &spec->command, interrupt);
    for (size_t i = 0; spec && i < FLAG_LIST_MAX; i++)
        free(spec->names[i]);
    free(spec);
    return code;
}

static int run_all(struct run *run)
{
    struct interrupt interrupt;
    bool keep = run->flags->keep || run->flags->detach;
    int code = EXIT_OK;

    if (interrupt_init(&interrupt, on_interrupt, run))
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
        code = atomic_load(&interrupt.received) ? EXIT_SIGNALED + atomic_load(&interrupt.received)
                                                : run_in_sandbox(run, &interrupt);
    if (run->created && !keep && kill_sandbox(run) && !code)
        code = EXIT_OURS;
    interrupt_done(&interrupt);
    crownest_client_free(run->client);
    return code;
}

static int check_flags(const struct command *command, const struct run_flags *values, int operands)
{
    int mistake = 0;

    if (!values->shell[0] && !operands)
        mistake = flags_mistake(command, "needs a program to run, or --shell");
    else if (values->shell[0] && operands)
        mistake = flags_mistake(command, "takes a program or --shell, not both");
    else if (values->sandbox && values->template[0])
        mistake = flags_mistake(command, "takes --sandbox or --template, not both");
    else if (values->sandbox && strlen(values->sandbox) >= FOLLOW_ID_SIZE)
        mistake = flags_mistake(command, "that is no sandbox's id");
    return mistake ? EXIT_OURS : EXIT_OK;
}

#define TEXT_FLAG(flag_name, field, operand_name, text)                                            \
    {                                                                                              \
        .name = flag_name, .kind = FLAG_TEXT, .value = &values.field, .operand = operand_name,     \
        .help = text                                                                               \
    }
#define LIST_FLAG(flag_name, flag_letter, field, operand_name, text)                               \
    {                                                                                              \
        .name = flag_name, .letter = flag_letter, .kind = FLAG_LIST, .value = &values.field,       \
        .operand = operand_name, .help = text                                                      \
    }
#define SECONDS_FLAG(flag_name, field, text)                                                       \
    {                                                                                              \
        .name = flag_name, .kind = FLAG_NUMBER, .value = &values.field, .operand = "SECONDS",      \
        .help = text, .max = SECONDS_MAX                                                           \
    }
#define SWITCH_FLAG(flag_name, field, text)                                                        \
    {                                                                                              \
        .name = flag_name, .kind = FLAG_SWITCH, .value = &values.field, .help = text               \
    }

static int run_run(const struct command *command, int argc, char **argv)
{
    struct run_flags values = {
        .template = "", .shell = "", .cwd = "", .user = "", .ttl = 300, .timeout = UNSET};
    const struct flag flags[] = {
        TEXT_FLAG("template", template, "NAME", "what to make the sandbox from (base)"),
        TEXT_FLAG("sandbox", sandbox, "SANDBOX", "run in this one, and leave it alive"),
        SECONDS_FLAG("ttl", ttl, "the new sandbox's life (300)"),
        SECONDS_FLAG("timeout", timeout, "kill the command after this time"),
        TEXT_FLAG("shell", shell, "LINE", "run a line of shell instead of a program"),
        LIST_FLAG("env", 'e', env, "K=V", "set a variable; K alone passes ours on"),
        TEXT_FLAG("cwd", cwd, "DIRECTORY", "where in the sandbox (/workspace)"),
        TEXT_FLAG("user", user, "USER", "`user` (the default) or `root`"),
        LIST_FLAG("collect", 0, collect, "PATH", "on exit code 0 make artifacts of these files"),
        SWITCH_FLAG("keep", keep, "do not kill the new sandbox at the end"),
        SWITCH_FLAG("detach", detach, "print the command's id and do not wait; implies --keep"),
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
    struct run run = {
        .command = command,
        .flags = &values,
        .argv = argv + first,
        .argc = (size_t)(argc - first),
        .follow = {.until_exit = true},
        .lock = PTHREAD_MUTEX_INITIALIZER,
    };
    return run_all(&run);
}

const struct command command_run = {
    .name = "run",
    .operands = "[--] PROGRAM [ARGUMENT...]",
    .summary = "run a command in a sandbox, new or given, and stream its output",
    .manual =
        "A new sandbox is killed at the end, unless --keep is given. Output comes as it is, on a\n"
        "terminal as well. When the connection is cut, the stream resumes where it was.\n"
        "SIGINT, SIGTERM and SIGHUP cancel the command; a second one ends this program at once.\n\n"
        "exit codes:\n"
        "  N      the command's own\n"
        "  124    its timeout passed\n"
        "  125    crownest failed, or the command was lost; stderr says how\n"
        "  128+N  signal N ended the command, or this program cancelled it on signal N\n",
    .run = run_run,
};
