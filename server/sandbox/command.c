#include "server/sandbox/command.h"
#include "server/util/container_of.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <uthash.h>

#include "server/artifact/collect.h"
#include "server/sandbox/command_record.h"
#include "server/sandbox/environment.h"
#include "server/store/record.h"
#include "server/util/cleanup.h"
#include "server/util/clock.h"
#include "server/util/cond.h"
#include "server/util/limits.h"
#include "server/util/prototime.h"

#define FINISH_THREADS 16
#define FINISH_SHARE 4 /* threads for one project: collecting may take long */
#define ARENA_BYTES (8U << 20)
#define DRAIN_BYTES_MAX (2U << 20) /* more than a pipe holds, so a pipe is drained within it */
#define CANCEL_WAIT_MS 20000
#define KILL_RETRY_MS 1000

struct output {
    struct loop_source source;
    struct command *command;
    enum log_stream stream;
    bool open;
};

struct command {
    atomic_uint refs;
    struct commands *owner;
    struct sandbox *sandbox;
    char id[ID_SIZE];
    char project_id[ID_SIZE];
    uint64_t number; /* its name towards nest-init */
    struct log *log;
    struct output outputs[2];
    struct loop_task attach;
    struct loop_timer timeout;
    struct job kill_job;
    struct job finish_job;
    uint64_t start_us;
    /* Of the loop's thread, and of finish_job after it was submitted. */
    bool attached;
    bool over; /* heard to have ended, perhaps before it was attached */
    bool ended;
    bool lost; /* the sandbox died under it */
    struct nest_reply exit;
    uint64_t end_us;
    /* Under the owner's mutex. */
    Crownest__V1__ExitCause asked; /* why it was killed, if it was */
    UT_hash_handle by_id;
    UT_hash_handle by_number;
};

struct commands {
    struct commands_options options;
    char *log_directory;
    struct workers *workers;
    pthread_mutex_t mutex; /* of what follows */
    pthread_cond_t done;
    struct command *ids;
    struct command *numbers;
    uint64_t last_number;
    uint8_t buffer[LIMIT_LOG_FRAME]; /* of the loop's thread */
};

static struct command *command_ref(struct command *command)
{
    atomic_fetch_add(&command->refs, 1);
    return command;
}

static void command_unref(struct command *command)
{
    if (atomic_fetch_sub(&command->refs, 1) > 1)
        return;
    for (size_t i = 0; i < 2; i++) {
        if (command->outputs[i].source.fd >= 0)
            (void)close(command->outputs[i].source.fd);
    }
    log_unref(command->log);
    sandbox_unref(command->sandbox);
    free(command);
}

/* Called with the mutex held. */
static struct command *find_command(struct commands *commands, const char *id)
{
    struct command *command = NULL;

    HASH_FIND(by_id, commands->ids, id, strlen(id), command);
    return command;
}

static struct command *ref_command(struct commands *commands, const char *id)
{
    lock_scope(&commands->mutex);
    struct command *command = find_command(commands, id);

    return command ? command_ref(command) : NULL;
}

/* Output: on the loop's thread */

static void output_close(struct output *output)
{
    if (!output->open)
        return;
    output->open = false;
    loop_remove(output->command->owner->options.loop, &output->source);
    (void)close(output->source.fd);
    output->source.fd = -1;
}

/* Moves what is there, at most one frame. Returns the bytes, 0 at the end, or a negative errno. */
static ssize_t output_read(struct output *output)
{
    struct command *command = output->command;
    uint8_t *buffer = command->owner->buffer;
    ssize_t got = nest_pipe_read(output->source.fd, buffer, LIMIT_LOG_FRAME);

    if (got < 0)
        return got;
    /* The log remembers its own failure and shows it as a gap: the command is not stopped by it. */
    if (got > 0)
        (void)log_append(command->log, output->stream, clock_wall_us(),
                         bytes_of(buffer, (size_t)got));
    return got;
}

static void output_ready(struct loop_source *source, uint32_t events)
{
    struct output *output = container_of(source, struct output, source);
    ssize_t got = output_read(output);

    (void)events;
    if (got == 0 || (got < 0 && got != -EAGAIN && got != -EINTR))
        output_close(output);
}

/* Every writer is dead: what is left in the pipe is all there will be. */
static void output_drain(struct output *output)
{
    size_t total = 0;

    while (output->open && total < DRAIN_BYTES_MAX) {
        ssize_t got = output_read(output);

        if (got <= 0)
            break;
        total += (size_t)got;
    }
    output_close(output);
}

static void command_end(struct command *command)
{
    command->over = true;
    if (command->ended || !command->attached)
        return;
    command->ended = true;
    command->end_us = clock_wall_us();
    output_drain(&command->outputs[0]);
    output_drain(&command->outputs[1]);
    /* The loop's reference goes to the job. */
    workers_submit(command->owner->workers, &command->finish_job);
}

static void on_exited(void *arg, struct sandbox *sandbox, const struct nest_reply *reply)
{
    struct commands *commands = arg;
    struct command *command = NULL;

    (void)pthread_mutex_lock(&commands->mutex);
    HASH_FIND(by_number, commands->numbers, &reply->command, sizeof(reply->command), command);
    if (command && command->sandbox != sandbox)
        command = NULL;
    (void)pthread_mutex_unlock(&commands->mutex);
    /* One whose start was given up. */
    if (!command)
        nest_ack(sandbox_nest(sandbox), reply->command);
    if (!command || command->over)
        return;
    command->exit = *reply;
    command_end(command);
}

static void on_dead(void *arg, struct sandbox *sandbox)
{
    struct commands *commands = arg;
    struct command *dead[LIMIT_COMMANDS_PER_SANDBOX];
    size_t count = 0;

    (void)pthread_mutex_lock(&commands->mutex);
    for (struct command *c = commands->ids; c && count < LIMIT_COMMANDS_PER_SANDBOX;
         c = c->by_id.next) {
        if (c->sandbox == sandbox)
            dead[count++] = command_ref(c);
    }
    (void)pthread_mutex_unlock(&commands->mutex);
    for (size_t i = 0; i < count; i++) {
        if (!dead[i]->over) {
            dead[i]->lost = true;
            command_end(dead[i]);
        }
        command_unref(dead[i]);
    }
}

static bool has_commands(struct commands *commands, const struct sandbox *sandbox)
{
    for (struct command *c = commands->ids; c; c = c->by_id.next) {
        if (c->sandbox == sandbox)
            return true;
    }
    return false;
}

static void on_settle(void *arg, struct sandbox *sandbox)
{
    struct commands *commands = arg;

    lock_scope(&commands->mutex);
    while (has_commands(commands, sandbox))
        (void)pthread_cond_wait(&commands->done, &commands->mutex);
}

struct sandbox_hooks commands_hooks(struct commands *commands)
{
    return (struct sandbox_hooks){
        .command_exited = on_exited, .dead = on_dead, .settle = on_settle, .arg = commands};
}

/* The end of a command */

static void set_cause(const struct command *command, Crownest__V1__ExitCause asked,
                      Crownest__V1__Command *record)
{
    int status = command->exit.wait_status;
    bool starved = !command->lost && status != 0 && sandbox_ran_out_of_memory(command->sandbox);

    if (command->lost) {
        record->exit_cause = CROWNEST__V1__EXIT_CAUSE__EXIT_CAUSE_SANDBOX_ENDED;
    } else if (WIFEXITED(status)) {
        record->exit_cause = CROWNEST__V1__EXIT_CAUSE__EXIT_CAUSE_EXITED;
        record->exit_code = WEXITSTATUS(status);
    } else {
        record->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
        record->exit_cause = asked ? asked : CROWNEST__V1__EXIT_CAUSE__EXIT_CAUSE_SIGNALED;
        if (!asked && record->signal == SIGKILL && starved)
            record->exit_cause = CROWNEST__V1__EXIT_CAUSE__EXIT_CAUSE_OUT_OF_MEMORY;
    }
}

static void set_usage(const struct command *command, Crownest__V1__Command *record,
                      struct arena *arena)
{
    Crownest__V1__CommandUsage *usage = arena_alloc(arena, sizeof(*usage));

    crownest__v1__command_usage__init(usage);
    usage->wall = protoduration_from_us(
        arena, command->end_us > command->start_us ? command->end_us - command->start_us : 0);
    usage->cpu_usec = command->exit.cpu_usec;
    usage->max_rss_bytes = command->exit.max_rss_bytes;
    record->usage = usage;
    record->end_time = prototime_from_us(arena, command->end_us);
}

static void collect_declared(struct command *command, Crownest__Records__CommandRecord *record,
                             struct arena *arena, struct collect_result *result)
{
    bool succeeded = record->command->exit_cause == CROWNEST__V1__EXIT_CAUSE__EXIT_CAUSE_EXITED &&
                     record->command->exit_code == 0;
    bool due = succeeded || record->collect_when == CROWNEST__V1__COLLECT_WHEN__COLLECT_WHEN_ALWAYS;

    if (record->n_collect == 0 || !due || command->lost)
        return;
    struct collect_options options = {.nest = sandbox_nest(command->sandbox),
                                      .blobs = command->owner->options.blobs,
                                      .items = record->collect,
                                      .item_count = record->n_collect,
                                      .field = "command.collect",
                                      .project_id = command->project_id,
                                      .sandbox_id = sandbox_id(command->sandbox),
                                      .command_id = command->id};

    collect_some(&options, arena, result);
    record->artifacts = result->artifacts;
    record->n_artifacts = result->artifact_count;
    record->collect_failures = result->failures;
    record->n_collect_failures = result->failure_count;
}

/* Takes it out of the tables: from here on only the store knows it. */
static void command_forget(struct command *command)
{
    struct commands *commands = command->owner;

    (void)pthread_mutex_lock(&commands->mutex);
    HASH_DELETE(by_id, commands->ids, command);
    HASH_DELETE(by_number, commands->numbers, command);
    (void)pthread_cond_broadcast(&commands->done);
    (void)pthread_mutex_unlock(&commands->mutex);
    command_unref(command);
}

static void finish_run(struct job *job)
{
    struct command *command = container_of(job, struct command, finish_job);
    struct commands *commands = command->owner;
    struct arena *arena = arena_new(ARENA_BYTES);
    struct collect_result collected = {0};
    Crownest__Records__CommandRecord *record;

    if (loop_disarm(commands->options.loop, &command->timeout))
        command_unref(command);
    int r = command_record_read(commands->options.store, command->project_id, command->id, arena,
                                &record);

    if (r == 0) {
        (void)pthread_mutex_lock(&commands->mutex);
        Crownest__V1__ExitCause asked = command->asked;

        (void)pthread_mutex_unlock(&commands->mutex);
        set_cause(command, asked, record->command);
        set_usage(command, record->command, arena);
        (void)log_finish(command->log);
        record->command->log_bytes = log_size(command->log);
        collect_declared(command, record, arena, &collected);
        r = command_record_exit(commands->options.store, record, &collected);
    }
    /* The end of the log is what tells readers to look at the record, so it comes after it. */
    (void)log_end(command->log);
    nest_ack(sandbox_nest(command->sandbox), command->number);
    command_forget(command);
    arena_free(arena);
    command_unref(command);
}

/* Killing */

static void ask_end(struct command *command, Crownest__V1__ExitCause cause)
{
    lock_scope(&command->owner->mutex);
    if (!command->asked)
        command->asked = cause;
}

static void kill_run(struct job *job)
{
    struct command *command = container_of(job, struct command, kill_job);

    int r = nest_kill(sandbox_nest(command->sandbox), command->number);

    /* -ESRCH, -ENOENT: it has ended; -ECONNRESET: its sandbox has. Else its time is still up: the
     * timer has the reference again. */
    if (r < 0 && r != -ESRCH && r != -ENOENT && r != -ECONNRESET)
        loop_arm(command->owner->options.loop, &command->timeout,
                 clock_monotonic_ms() + KILL_RETRY_MS);
    else
        command_unref(command);
}

static void timeout_fire(struct loop_timer *timer)
{
    struct command *command = container_of(timer, struct command, timeout);

    ask_end(command, CROWNEST__V1__EXIT_CAUSE__EXIT_CAUSE_TIMEOUT);
    workers_submit(command->owner->workers, &command->kill_job);
}

/* Whether its end was recorded in time. */
static bool wait_forgotten(struct commands *commands, const char *id)
{
    struct timespec deadline = cond_deadline(CANCEL_WAIT_MS);

    lock_scope(&commands->mutex);
    while (find_command(commands, id)) {
        if (pthread_cond_timedwait(&commands->done, &commands->mutex, &deadline) == ETIMEDOUT)
            return false;
    }
    return true;
}

struct status commands_cancel(struct commands *commands, const char *project_id,
                              const char *command_id)
{
    struct command *command = ref_command(commands, command_id);

    if (!command || strcmp(command->project_id, project_id) != 0) {
        if (command)
            command_unref(command);
        return STATUS_OK_VALUE;
    }
    ask_end(command, CROWNEST__V1__EXIT_CAUSE__EXIT_CAUSE_CANCELLED);
    int r = nest_kill(sandbox_nest(command->sandbox), command->number);

    command_unref(command);
    /* -ESRCH: it has just ended; -ECONNRESET: its sandbox has. Both will be recorded. */
    if (r < 0 && r != -ESRCH && r != -ENOENT && r != -ECONNRESET)
        return status_unavailable("CANCEL_FAILED", "the sandbox does not answer: %s", strerror(-r));
    if (!wait_forgotten(commands, command_id))
        return status_unavailable("CANCEL_FAILED", "the command has not ended within %d ms",
                                  CANCEL_WAIT_MS);
    return STATUS_OK_VALUE;
}

/* Starting */

/* On the loop's thread, which has it from here on. Its end may have been heard of before. */
static void attach_run(struct loop_task *task)
{
    struct command *command = container_of(task, struct command, attach);

    for (size_t i = 0; i < 2; i++) {
        struct output *output = &command->outputs[i];

        /* A descriptor that cannot be waited for is no pipe: nest-init lies, and nothing is read.
         */
        output->open = loop_add(command->owner->options.loop, &output->source, EPOLLIN) == 0;
    }
    command->attached = true;
    if (command->over)
        command_end(command);
}

static struct command *command_new(struct commands *commands, struct sandbox *sandbox,
                                   const Crownest__V1__Command *record)
{
    struct command *command = calloc(1, sizeof(*command));

    if (!command)
        abort();
    /* One for the tables, one for the loop, which hands it to finish_job. */
    atomic_init(&command->refs, 2);
    command->owner = commands;
    command->sandbox = sandbox_ref(sandbox);
    (void)snprintf(command->id, sizeof(command->id), "%s", record->command_id);
    (void)snprintf(command->project_id, sizeof(command->project_id), "%s", record->project_id);
    for (size_t i = 0; i < 2; i++) {
        command->outputs[i].command = command;
        command->outputs[i].source = (struct loop_source){.fd = -1, .ready = output_ready};
        command->outputs[i].stream = i == 0 ? LOG_STDOUT : LOG_STDERR;
    }
    command->attach.run = attach_run;
    command->timeout.fire = timeout_fire;
    command->kill_job.run = kill_run;
    command->kill_job.tenant = command->project_id;
    command->finish_job.run = finish_run;
    command->finish_job.tenant = command->project_id;
    return command;
}

static struct status command_admit(struct commands *commands, struct command *command)
{
    unsigned running = 0;

    lock_scope(&commands->mutex);
    for (struct command *c = commands->ids; c; c = c->by_id.next)
        running += c->sandbox == command->sandbox;
    if (running >= LIMIT_COMMANDS_PER_SANDBOX)
        return status_error(STATUS_RESOURCE_EXHAUSTED, "COMMAND_LIMIT",
                            "the sandbox runs its maximum of %d commands",
                            LIMIT_COMMANDS_PER_SANDBOX);
    command->number = ++commands->last_number;
    HASH_ADD(by_id, commands->ids, id, strlen(command->id), command);
    HASH_ADD(by_number, commands->numbers, number, sizeof(command->number), command);
    return STATUS_OK_VALUE;
}

static struct status spawn_failed(int error, enum nest_step step, const Crownest__V1__Command *c)
{
    if (step == NEST_STEP_CWD)
        return status_at(status_error(STATUS_FAILED_PRECONDITION, "CWD_NOT_A_DIRECTORY",
                                      "%.200s cannot be entered: %s", c->cwd, strerror(-error)),
                         "command.cwd");
    if (step == NEST_STEP_EXEC)
        return status_at(status_error(STATUS_FAILED_PRECONDITION, "EXEC_FAILED",
                                      "%.200s cannot be executed: %s", c->argv[0],
                                      strerror(-error)),
                         "command.argv");
    return status_unavailable("SPAWN_FAILED", "the sandbox cannot start a command now: %s",
                              strerror(-error));
}

static void command_attach(struct command *command, const int fds[NEST_PIPE_COUNT],
                           uint64_t timeout_ms)
{
    struct loop *loop = command->owner->options.loop;
    const enum nest_pipe pipes[2] = {NEST_PIPE_STDOUT, NEST_PIPE_STDERR};

    (void)close(fds[NEST_PIPE_STDIN]);
    for (size_t i = 0; i < 2; i++)
        command->outputs[i].source.fd = fds[pipes[i]];
    if (timeout_ms > 0) {
        (void)command_ref(command);
        loop_arm(loop, &command->timeout, clock_monotonic_ms() + timeout_ms);
    }
    loop_post(loop, &command->attach);
}

static struct status spawn(struct command *command, const struct command_spec *spec)
{
    const Crownest__V1__Command *record = spec->record->command;
    cleanup_buf struct buf blob = {0};
    size_t sandbox_count;
    const char *const *sandbox_vars = sandbox_env(command->sandbox, &sandbox_count);
    struct environment environment = {.user = record->user,
                                      .sandbox_id = record->sandbox_id,
                                      .outer = sandbox_vars,
                                      .outer_count = sandbox_count,
                                      .inner = spec->env,
                                      .inner_count = spec->env_count};
    struct nest_spawn_options options = {.user = strcmp(record->user, "root") == 0 ? NEST_ROOT
                                                                                   : NEST_USER,
                                         .cwd = record->cwd,
                                         .argc = (uint32_t)record->n_argv};
    int fds[NEST_PIPE_COUNT];
    enum nest_step step;

    for (size_t i = 0; i < record->n_argv; i++)
        buf_append(&blob, record->argv[i], strlen(record->argv[i]) + 1);
    options.envc = environment_append(&environment, &blob);
    options.blob = buf_bytes(&blob);
    int r = nest_spawn(sandbox_nest(command->sandbox), command->number, &options, fds, &step);

    if (r < 0)
        return spawn_failed(r, step, record);
    command_attach(command, fds, spec->record->timeout_ms);
    return STATUS_OK_VALUE;
}

static void fill_record(const struct sandbox *sandbox, Crownest__V1__Command *record,
                        struct arena *arena, uint64_t now_us)
{
    char id[ID_SIZE];

    id_make("cmd_", id);
    record->command_id = arena_strdup(arena, id);
    record->project_id = arena_strdup(arena, sandbox_project(sandbox));
    record->sandbox_id = arena_strdup(arena, sandbox_id(sandbox));
    record->start_time = prototime_from_us(arena, now_us);
}

struct status commands_start(struct commands *commands, struct sandbox *sandbox,
                             const struct command_spec *spec, const struct command_commit *commit,
                             struct arena *arena)
{
    Crownest__V1__Command *record = spec->record->command;
    struct err err = {0};
    uint64_t now = clock_wall_us();

    fill_record(sandbox, record, arena, now);
    struct command *command = command_new(commands, sandbox, record);
    struct status status = command_admit(commands, command);

    command->start_us = now;
    if (!status_is_ok(&status)) {
        command_unref(command);
        command_unref(command);
        return status;
    }
    if (log_create(commands->log_directory, record->command_id, &command->log, &err) < 0)
        status = status_unavailable("LOG_FAILED", "%s", err.message);
    else if (command_record_start(commands->options.store, spec->record, commit) < 0)
        status = record_write_failed();
    else
        status = spawn(command, spec);
    if (!status_is_ok(&status)) {
        (void)command_record_take_back(commands->options.store, record, commit);
        (void)log_remove(commands->log_directory, record->command_id);
        command_forget(command);
        command_unref(command);
    }
    return status;
}

/* Reading */

struct status commands_get(struct commands *commands, const char *project_id,
                           const char *command_id, struct arena *arena,
                           Crownest__Records__CommandRecord **ret_record)
{
    struct command *command = ref_command(commands, command_id);
    int r = command_record_read(commands->options.store, project_id, command_id, arena, ret_record);

    if (command) {
        if (r == 0 && !(*ret_record)->command->end_time && command->log)
            (*ret_record)->command->log_bytes = log_size(command->log);
        command_unref(command);
    }
    if (r == -ENOENT)
        return status_at(status_error(STATUS_NOT_FOUND, "COMMAND_NOT_FOUND",
                                      "no command with this id in this project"),
                         "command_id");
    if (r < 0)
        return status_error(STATUS_DATA_LOSS, "RECORD_DAMAGED",
                            "the command's record cannot be read");
    return STATUS_OK_VALUE;
}

struct status commands_log(struct commands *commands, const char *command_id, struct log **ret_log)
{
    struct command *command = ref_command(commands, command_id);
    struct err err = {0};

    if (command && command->log) {
        *ret_log = log_ref(command->log);
        command_unref(command);
        return STATUS_OK_VALUE;
    }
    if (command)
        command_unref(command);
    if (log_open(commands->log_directory, command_id, ret_log, &err) < 0)
        return status_error(STATUS_DATA_LOSS, "LOG_LOST", "the log cannot be read: %s",
                            err.message);
    return STATUS_OK_VALUE;
}

/* Starting and stopping the service */

struct reconcile {
    struct commands *commands;
    int result;
};

static bool bury(void *arg, const char *id, struct bytes project)
{
    struct reconcile *reconcile = arg;
    struct commands *commands = reconcile->commands;
    struct arena *arena = arena_new(ARENA_BYTES);
    char *project_id = arena_alloc(arena, project.size + 1);
    Crownest__Records__CommandRecord *record;
    struct log *log;

    memcpy(project_id, project.data, project.size);
    struct status status = commands_get(commands, project_id, id, arena, &record);
    int r = status_is_ok(&status) ? 0 : -EIO;

    if (r == 0) {
        struct collect_result none = {0};

        record->command->exit_cause = CROWNEST__V1__EXIT_CAUSE__EXIT_CAUSE_HOST_LOST;
        record->command->end_time = prototime_from_us(arena, clock_wall_us());
        if (log_open(commands->log_directory, id, &log, NULL) == 0) {
            (void)log_end(log);
            record->command->log_bytes = log_size(log);
            log_unref(log);
        }
        r = command_record_exit(commands->options.store, record, &none);
    }
    arena_free(arena);
    if (r < 0)
        reconcile->result = r;
    return true;
}

int commands_reconcile(struct commands *commands, struct err *err)
{
    struct reconcile reconcile = {.commands = commands};
    char next[ID_SIZE];
    struct record_page all = {
        .prefix = schema_key("run", "", NULL, NULL), .start = "", .count = SIZE_MAX};
    int r = record_page(commands->options.store, &all, bury, &reconcile, next, sizeof(next));

    if (r < 0 || reconcile.result < 0)
        return err_set(err, EIO, "commands of an earlier process could not be recorded as lost");
    return 0;
}

struct commands *commands_new(const struct commands_options *options)
{
    struct commands *commands = calloc(1, sizeof(*commands));

    if (!commands)
        abort();
    commands->options = *options;
    commands->log_directory = strdup(options->log_directory);
    commands->workers = workers_new("commands", FINISH_THREADS, FINISH_SHARE);
    (void)pthread_mutex_init(&commands->mutex, NULL);
    cond_init(&commands->done);
    return commands;
}

void commands_free(struct commands *commands)
{
    if (!commands)
        return;
    workers_free(commands->workers);
    (void)pthread_cond_destroy(&commands->done);
    (void)pthread_mutex_destroy(&commands->mutex);
    free(commands->log_directory);
    free(commands);
}
