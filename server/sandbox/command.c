#include "server/sandbox/command_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "server/sandbox/command_record.h"
#include "server/sandbox/environment.h"
#include "server/store/record.h"
#include "server/util/cleanup.h"
#include "server/util/clock.h"
#include "server/util/cond.h"
#include "server/util/failpoint.h"
#include "server/util/limits.h"
#include "server/util/prototime.h"

#define FINISH_THREADS 16
#define FINISH_SHARE 4 /* threads for one project: collecting may take long */

struct command *command_ref(struct command *command)
{
    atomic_fetch_add(&command->refs, 1);
    return command;
}

void command_unref(struct command *command)
{
    if (!command || atomic_fetch_sub(&command->refs, 1) > 1)
        return;
    for (size_t i = 0; i < 2; i++) {
        if (command->outputs[i].source.fd >= 0)
            (void)close(command->outputs[i].source.fd);
    }
    if (command->input >= 0)
        (void)close(command->input);
    (void)pthread_mutex_destroy(&command->input_mutex);
    (void)pthread_mutex_destroy(&command->record_mutex);
    log_unref(command->log);
    sandbox_unref(command->sandbox);
    free(command);
}

struct command *command_find(struct commands *commands, const char *id)
{
    struct command *command = NULL;

    HASH_FIND(by_id, commands->ids, id, strlen(id), command);
    return command;
}

static struct command *find_and_ref(struct commands *commands, const char *id)
{
    lock_scope(&commands->mutex);
    struct command *command = command_find(commands, id);

    return command ? command_ref(command) : NULL;
}

struct command *command_running(struct commands *commands, const char *project_id, const char *id)
{
    struct command *command = find_and_ref(commands, id);

    if (command && strcmp(command->project_id, project_id) != 0) {
        command_unref(command);
        command = NULL;
    }
    return command;
}

uint32_t commands_running(struct commands *commands, const char *sandbox)
{
    uint32_t count = 0;

    lock_scope(&commands->mutex);
    for (struct command *c = commands->ids; c; c = c->by_id.next)
        count += strcmp(sandbox_id(c->sandbox), sandbox) == 0;
    return count;
}

struct status command_not_running(struct commands *commands, const char *project_id, const char *id)
{
    struct arena *arena = arena_new(COMMAND_ARENA_BYTES);
    Crownest__Records__CommandRecord *record;
    struct status status = commands_get(commands, project_id, id, arena, &record);

    arena_free(arena);
    if (!status_is_ok(&status))
        return status;
    return status_at(
        status_error(STATUS_FAILED_PRECONDITION, "COMMAND_NOT_RUNNING", "the command has ended"),
        "command_id");
}

/* What its sandbox tells, on the loop's thread */

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

/* Those whose end waits for the database to be writable are not waited for. */
static bool has_unsettled(struct commands *commands, const struct sandbox *sandbox)
{
    for (struct command *c = commands->ids; c; c = c->by_id.next) {
        if (c->sandbox == sandbox && !c->unrecorded)
            return true;
    }
    return false;
}

static void on_settle(void *arg, struct sandbox *sandbox)
{
    struct commands *commands = arg;

    lock_scope(&commands->mutex);
    while (has_unsettled(commands, sandbox))
        (void)pthread_cond_wait(&commands->done, &commands->mutex);
}

/* Its commands have waited for it to run again. On failure they are asked for at the next start. */
static void on_reattach(void *arg, struct sandbox *sandbox)
{
    struct commands *commands = arg;
    struct command *waiting[LIMIT_COMMANDS_PER_SANDBOX];
    size_t count = 0;

    (void)pthread_mutex_lock(&commands->mutex);
    for (struct command *c = commands->ids; c && count < LIMIT_COMMANDS_PER_SANDBOX;
         c = c->by_id.next) {
        if (c->sandbox == sandbox && c->detached) {
            c->detached = false;
            waiting[count++] = command_ref(c);
        }
    }
    (void)pthread_mutex_unlock(&commands->mutex);
    for (size_t i = 0; i < count; i++) {
        command_reach(waiting[i]);
        command_unref(waiting[i]);
    }
}

struct sandbox_hooks commands_hooks(struct commands *commands)
{
    return (struct sandbox_hooks){.command_exited = on_exited,
                                  .dead = on_dead,
                                  .settle = on_settle,
                                  .reattach = on_reattach,
                                  .arg = commands};
}

/* Starting */

struct command *command_new(struct commands *commands, struct sandbox *sandbox,
                            const Crownest__Records__CommandRecord *record)
{
    struct command *command = calloc(1, sizeof(*command));

    if (!command)
        abort();
    /* One for the tables, one for the loop, which hands it to finish_job. */
    atomic_init(&command->refs, 2);
    command->owner = commands;
    command->sandbox = sandbox_ref(sandbox);
    (void)snprintf(command->id, sizeof(command->id), "%s", record->command->command_id);
    (void)snprintf(command->project_id, sizeof(command->project_id), "%s",
                   record->command->project_id);
    for (size_t i = 0; i < 2; i++) {
        command->outputs[i].command = command;
        command->outputs[i].source = (struct loop_source){.fd = -1, .ready = command_output_ready};
        command->outputs[i].stream = i == 0 ? LOG_STDOUT : LOG_STDERR;
    }
    (void)pthread_mutex_init(&command->input_mutex, NULL);
    (void)pthread_mutex_init(&command->record_mutex, NULL);
    command->input = -1;
    command->number = record->number;
    command->start_us = prototime_ms(record->command->start_time) * 1000;
    command->attach.run = command_attach_run;
    command->timeout.fire = command_timeout_fire;
    command->finish_again.fire = command_finish_again;
    command->kill_job.run = command_kill_run;
    command->kill_job.tenant = command->project_id;
    command->finish_job.run = command_finish_run;
    command->finish_job.tenant = command->project_id;
    return command;
}

static const struct quota_amounts one_command = {{[QUOTA_COMMANDS] = 1}};

struct status command_admit(struct command *command, bool taken)
{
    struct commands *commands = command->owner;
    unsigned running = 0;

    lock_scope(&commands->mutex);
    for (struct command *c = commands->ids; c; c = c->by_id.next)
        running += c->sandbox == command->sandbox;
    if (running >= LIMIT_COMMANDS_PER_SANDBOX)
        return status_error(STATUS_RESOURCE_EXHAUSTED, "COMMAND_LIMIT",
                            "the sandbox runs its maximum of %d commands",
                            LIMIT_COMMANDS_PER_SANDBOX);
    if (!taken)
        quota_add(commands->options.quotas, command->project_id, &one_command);
    HASH_ADD(by_id, commands->ids, id, strlen(command->id), command);
    HASH_ADD(by_number, commands->numbers, number, sizeof(command->number), command);
    return STATUS_OK_VALUE;
}

void command_forget(struct command *command)
{
    struct commands *commands = command->owner;

    quota_give(commands->options.quotas, command->project_id, &one_command);
    (void)pthread_mutex_lock(&commands->mutex);
    HASH_DELETE(by_id, commands->ids, command);
    HASH_DELETE(by_number, commands->numbers, command);
    (void)pthread_cond_broadcast(&commands->done);
    (void)pthread_mutex_unlock(&commands->mutex);
    command_unref(command);
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
    if (error == -ETIMEDOUT || error == -EPROTO || error == -ECONNRESET)
        return status_unsure("SPAWN_FAILED",
                             "the sandbox does not say whether it has started it: %s",
                             strerror(-error));
    return status_unavailable("SPAWN_FAILED", "the sandbox cannot start a command now: %s",
                              strerror(-error));
}

void command_attach(struct command *command, const int *fds, uint64_t timeout_ms)
{
    struct loop *loop = command->owner->options.loop;
    const enum nest_pipe pipes[2] = {NEST_PIPE_STDOUT, NEST_PIPE_STDERR};

    for (size_t i = 0; fds && i < 2; i++)
        command->outputs[i].source.fd = fds[pipes[i]];
    if (fds) {
        lock_scope(&command->input_mutex);
        command->input = fds[NEST_PIPE_STDIN];
    }
    if (timeout_ms > 0) {
        (void)command_ref(command);
        loop_arm(loop, &command->timeout, clock_monotonic_ms() + timeout_ms);
    }
    loop_post(loop, &command->attach);
}

struct status command_spawn(struct command *command, const Crownest__Records__CommandRecord *record)
{
    const Crownest__V1__Command *asked = record->command;
    cleanup_buf struct buf blob = {0};
    size_t sandbox_count;
    const char *const *sandbox_vars = sandbox_env(command->sandbox, &sandbox_count);
    struct environment environment = {.user = asked->user,
                                      .sandbox_id = asked->sandbox_id,
                                      .terminal = asked->terminal,
                                      .outer = sandbox_vars,
                                      .outer_count = sandbox_count,
                                      .inner = (const char *const *)record->env,
                                      .inner_count = record->n_env};
    struct nest_spawn_options options = {.user = strcmp(asked->user, "root") == 0 ? NEST_ROOT
                                                                                  : NEST_USER,
                                         .cwd = asked->cwd,
                                         .argc = (uint32_t)asked->n_argv,
                                         .keep_input = asked->keep_stdin,
                                         .rows = (uint16_t)record->rows,
                                         .columns = (uint16_t)record->columns};
    int fds[NEST_PIPE_COUNT];
    enum nest_step step;

    for (size_t i = 0; i < asked->n_argv; i++)
        buf_append(&blob, asked->argv[i], strlen(asked->argv[i]) + 1);
    FAILPOINT("command.spawn.intended");
    options.envc = environment_append(&environment, &blob);
    options.blob = buf_bytes(&blob);
    int r = nest_spawn(sandbox_nest(command->sandbox), command->number, &options, fds, &step);

    FAILPOINT("command.spawn.spawned");
    if (r < 0)
        return spawn_failed(r, step, asked);
    command_attach(command, fds, record->timeout_ms);
    return STATUS_OK_VALUE;
}

/* Never 0. */
static uint64_t random_number(void)
{
    uint64_t number;

    if (getrandom(&number, sizeof(number), 0) != (ssize_t)sizeof(number))
        abort();
    return number | 1;
}

static void fill_record(const struct sandbox *sandbox, Crownest__Records__CommandRecord *record,
                        struct arena *arena)
{
    Crownest__V1__Command *command = record->command;
    char id[ID_SIZE];

    id_make("cmd_", id);
    command->command_id = arena_strdup(arena, id);
    command->project_id = arena_strdup(arena, sandbox_project(sandbox));
    command->sandbox_id = arena_strdup(arena, sandbox_id(sandbox));
    command->start_time = prototime_from_us(arena, clock_wall_us());
    record->number = random_number();
}

/* Of its project's commands, and of its sandbox's. */
static struct status admit_new(struct command *command)
{
    struct quotas *quotas = command->owner->options.quotas;
    struct status status = quota_take(quotas, command->project_id, &one_command);

    if (!status_is_ok(&status))
        return status;
    status = command_admit(command, true);
    if (!status_is_ok(&status))
        quota_give(quotas, command->project_id, &one_command);
    return status;
}

struct status commands_start(struct commands *commands, struct sandbox *sandbox,
                             Crownest__Records__CommandRecord *record,
                             const struct command_commit *commit, struct arena *arena)
{
    struct err err = {0};

    fill_record(sandbox, record, arena);
    struct status status = sandbox_hold(sandbox);

    if (!status_is_ok(&status))
        return status_at(status, "command.sandbox_id");
    struct command *command = command_new(commands, sandbox, record);

    status = admit_new(command);
    if (!status_is_ok(&status)) {
        command_unref(command);
        command_unref(command);
        sandbox_let_go(sandbox);
        return status;
    }
    if (log_create(commands->log_directory, command->id, &command->log, &err) < 0)
        status = status_unavailable("LOG_FAILED", "%s", err.message);
    else if (command_record_start(commands->options.store, record, commit) < 0)
        status = record_write_failed(commands->options.store);
    else
        status = command_spawn(command, record);
    FAILPOINT("command.start.done");
    sandbox_let_go(sandbox);
    if (!status_is_ok(&status)) {
        if (command_record_take_back(commands->options.store, record->command, commit,
                                     status.reason) < 0)
            status = record_write_failed(commands->options.store);
        (void)log_remove(commands->log_directory, command->id);
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
    struct command *command = find_and_ref(commands, command_id);
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

/* Asked after the log was not there, so that it does not matter when it was removed. */
static bool log_is_expired(struct commands *commands, const char *project_id,
                           const char *command_id, struct arena *arena)
{
    Crownest__Records__CommandRecord *record;

    return command_record_read(commands->options.store, project_id, command_id, arena, &record) ==
               0 &&
           record->command->log_expired;
}

struct status commands_log(struct commands *commands, const char *project_id,
                           const char *command_id, struct arena *arena, struct log **ret_log)
{
    struct command *command = find_and_ref(commands, command_id);
    struct err err = {0};

    if (command && command->log) {
        *ret_log = log_ref(command->log);
        command_unref(command);
        return STATUS_OK_VALUE;
    }
    if (command)
        command_unref(command);
    if (log_open(commands->log_directory, command_id, ret_log, &err) == 0)
        return STATUS_OK_VALUE;
    if (log_is_expired(commands, project_id, command_id, arena))
        return status_at(status_error(STATUS_NOT_FOUND, "LOG_EXPIRED",
                                      "the log was removed after its project's log_retention"),
                         "command_id");
    return status_error(STATUS_DATA_LOSS, "LOG_LOST", "the log cannot be read: %s", err.message);
}

/* Starting and stopping the service */

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
    /* Those that go on without us. */
    while (commands->ids) {
        struct command *command = commands->ids;

        if (loop_disarm(commands->options.loop, &command->timeout))
            command_unref(command);
        (void)loop_disarm(commands->options.loop, &command->finish_again);
        command_forget(command);
        command_unref(command); /* the loop's */
    }
    (void)pthread_cond_destroy(&commands->done);
    (void)pthread_mutex_destroy(&commands->mutex);
    free(commands->log_directory);
    free(commands);
}
