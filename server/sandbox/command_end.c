/* How commands end: by themselves, killed, or with their sandbox. */
#include "server/sandbox/command_private.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "server/artifact/collect.h"
#include "server/sandbox/command_record.h"
#include "server/store/record.h"
#include "server/util/cleanup.h"
#include "server/util/clock.h"
#include "server/util/cond.h"
#include "server/util/container_of.h"
#include "server/util/failpoint.h"
#include "server/util/limits.h"
#include "server/util/prototime.h"

#define CANCEL_WAIT_MS 20000
#define KILL_RETRY_MS 1000
#define RECORD_RETRY_MS 500

/* A host that counts by command is exact; else the sandbox's count is all there is. */
static bool is_starved(const struct command *command)
{
    bool counted = command->exit.memory_peak_bytes > 0;

    if (command->lost || command->exit.wait_status == 0)
        return false;
    return counted ? command->exit.oom_kills > 0 : sandbox_ran_out_of_memory(command->sandbox);
}

static void set_cause(const struct command *command, Crownest__V1__ExitCause asked,
                      Crownest__V1__Command *record)
{
    int status = command->exit.wait_status;
    bool starved = is_starved(command);

    if (command->lost) {
        record->exit_cause = command->lost_as ? command->lost_as
                                              : CROWNEST__V1__EXIT_CAUSE__EXIT_CAUSE_SANDBOX_ENDED;
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
    usage->memory_peak_bytes = command->exit.memory_peak_bytes;
    record->usage = usage;
    record->end_time = prototime_from_us(arena, command->end_us);
}

static struct collect_options collecting(const struct command *command,
                                         const Crownest__Records__CommandRecord *record)
{
    return (struct collect_options){.nest = sandbox_nest(command->sandbox),
                                    .blobs = command->owner->options.blobs,
                                    .quotas = command->owner->options.quotas,
                                    .items = record->collect,
                                    .item_count = record->n_collect,
                                    .field = "command.collect",
                                    .project_id = command->project_id,
                                    .sandbox_id = sandbox_id(command->sandbox),
                                    .command_id = command->id};
}

static void collect_declared(struct command *command, Crownest__Records__CommandRecord *record,
                             struct arena *arena, struct collect_result *result)
{
    bool succeeded = record->command->exit_cause == CROWNEST__V1__EXIT_CAUSE__EXIT_CAUSE_EXITED &&
                     record->command->exit_code == 0;
    bool due = succeeded || record->collect_when == CROWNEST__V1__COLLECT_WHEN__COLLECT_WHEN_ALWAYS;

    if (record->n_collect == 0 || !due || command->lost)
        return;
    struct collect_options options = collecting(command, record);

    collect_some(&options, arena, result);
    record->artifacts = result->artifacts;
    record->n_artifacts = result->artifact_count;
    record->collect_failures = result->failures;
    record->n_collect_failures = result->failure_count;
}

static void count_bytes(const struct command *command, const Crownest__V1__Command *record,
                        const struct collect_result *collected)
{
    struct meter_bytes bytes = {.log = record->log_bytes, .artifact = collect_bytes(collected)};

    sandbox_count(command->sandbox, bytes);
}

/*
 * The record's end, in one batch with the artifacts. Whoever wants it changed comes too late.
 * Whether that was all: no when the store could not do it now.
 */
static bool record_end(struct command *command, struct arena *arena)
{
    struct store *store = command->owner->options.store;
    struct status writable = store_writable(store);
    struct collect_result collected = {0};
    Crownest__Records__CommandRecord *record;

    /* So that files are not collected again and again in vain. */
    if (!status_is_ok(&writable))
        return false;
    lock_scope(&command->record_mutex);
    int r = command_record_read(store, command->project_id, command->id, arena, &record);

    if (r < 0)
        return r != -EIO;
    set_cause(command, record->asked ? record->asked : command->asked, record->command);
    set_usage(command, record->command, arena);
    record->n_env = 0;
    record->command->log_bytes = log_size(command->log);
    collect_declared(command, record, arena, &collected);
    FAILPOINT("command.end.collected");
    command->recorded = command_record_exit(store, record, &collected) == 0;
    if (command->recorded)
        count_bytes(command, record->command, &collected);
    struct collect_options options = collecting(command, record);

    collect_settle(&options, &collected, command->recorded);
    return command->recorded;
}

/*
 * When the disk takes it again. Nobody waits for it meanwhile; should the service die before,
 * nest-init tells the next one.
 */
static void record_end_later(struct command *command)
{
    struct commands *commands = command->owner;

    (void)pthread_mutex_lock(&commands->mutex);
    command->unrecorded = true;
    (void)pthread_cond_broadcast(&commands->done);
    (void)pthread_mutex_unlock(&commands->mutex);
    loop_arm(commands->options.loop, &command->finish_again,
             clock_monotonic_ms() + RECORD_RETRY_MS);
}

void command_finish_again(struct loop_timer *timer)
{
    struct command *command = container_of(timer, struct command, finish_again);

    workers_submit(command->owner->workers, &command->finish_job);
}

void command_finish_run(struct job *job)
{
    struct command *command = container_of(job, struct command, finish_job);
    struct arena *arena = arena_new(COMMAND_ARENA_BYTES);

    if (loop_disarm(command->owner->options.loop, &command->timeout))
        command_unref(command);
    FAILPOINT("command.end.begun");
    bool done = log_finish(command->log) != -ENOSPC && record_end(command, arena);

    FAILPOINT("command.end.recorded");
    arena_free(arena);
    if (!done) {
        record_end_later(command);
        return;
    }
    /* The end of the log is what tells readers to look at the record, so it comes after it. */
    (void)log_end(command->log);
    nest_ack(sandbox_nest(command->sandbox), command->number);
    FAILPOINT("command.end.acknowledged");
    command_forget(command);
    command_unref(command);
}

/* Killing */

/*
 * Why, before it is done: should the service die in between, the next one knows. A disk that takes
 * nothing saves no command, which may be what fills it.
 */
static void ask_end(struct command *command, Crownest__V1__ExitCause cause,
                    const struct audit_actor *by)
{
    struct arena *arena = arena_new(COMMAND_ARENA_BYTES);
    struct store *store = command->owner->options.store;
    Crownest__Records__CommandRecord *record;

    (void)pthread_mutex_lock(&command->record_mutex);
    if (!command->asked)
        command->asked = cause;
    if (!command->recorded &&
        command_record_read(store, command->project_id, command->id, arena, &record) == 0 &&
        !record->asked) {
        struct audit_entry entry =
            command_entry(record->command, by ? "command.cancel" : "command.timeout", by);

        entry.outcome = AUDIT_BEGUN;
        record->asked = command->asked;
        (void)command_record_write(store, record, &entry);
    }
    FAILPOINT("command.kill.intended");
    (void)pthread_mutex_unlock(&command->record_mutex);
    arena_free(arena);
}

/* -ESRCH, -ENOENT: it has ended; -ECONNRESET: its sandbox has. Both will be recorded. */
static int kill_tree(struct command *command)
{
    int r = nest_kill(sandbox_nest(command->sandbox), command->number);

    FAILPOINT("command.kill.done");
    return r == -ESRCH || r == -ENOENT || r == -ECONNRESET ? 0 : r;
}

void command_kill_run(struct job *job)
{
    struct command *command = container_of(job, struct command, kill_job);
    int r = sandbox_is_paused(command->sandbox) ? -EAGAIN : 0;

    if (r == 0) {
        ask_end(command, CROWNEST__V1__EXIT_CAUSE__EXIT_CAUSE_TIMEOUT, NULL);
        r = kill_tree(command);
    }
    /* Its time is still up: the timer has the reference again. */
    if (r < 0)
        loop_arm(command->owner->options.loop, &command->timeout,
                 clock_monotonic_ms() + KILL_RETRY_MS);
    else
        command_unref(command);
}

void command_timeout_fire(struct loop_timer *timer)
{
    struct command *command = container_of(timer, struct command, timeout);

    workers_submit(command->owner->workers, &command->kill_job);
}

/* Until it is as wanted, or forgotten, which is a NULL. Whether it was in time. */
static bool wait_until(struct commands *commands, const char *id, unsigned timeout_ms,
                       bool (*wanted)(const struct command *command))
{
    struct timespec deadline = cond_deadline(timeout_ms);

    lock_scope(&commands->mutex);
    while (!wanted(command_find(commands, id))) {
        if (pthread_cond_timedwait(&commands->done, &commands->mutex, &deadline) == ETIMEDOUT)
            return false;
    }
    return true;
}

static bool is_recorded(const struct command *command)
{
    return !command;
}

static bool has_ended(const struct command *command)
{
    return !command || command->unrecorded;
}

struct status commands_cancel(struct commands *commands, const char *project_id,
                              const char *command_id, const struct audit_actor *by)
{
    struct command *command = command_running(commands, project_id, command_id);

    if (!command)
        return STATUS_OK_VALUE;
    if (sandbox_is_paused(command->sandbox)) {
        command_unref(command);
        return status_error(STATUS_FAILED_PRECONDITION, "SANDBOX_PAUSED",
                            "its sandbox is paused; resume it first, or kill it");
    }
    ask_end(command, CROWNEST__V1__EXIT_CAUSE__EXIT_CAUSE_CANCELLED, by);
    int r = kill_tree(command);

    command_unref(command);
    if (r < 0)
        return status_unsure("CANCEL_FAILED", "the sandbox does not answer: %s", strerror(-r));
    if (!wait_until(commands, command_id, CANCEL_WAIT_MS, has_ended))
        return status_unsure("CANCEL_FAILED", "the command has not ended within %d ms",
                             CANCEL_WAIT_MS);
    return wait_until(commands, command_id, 0, is_recorded)
               ? STATUS_OK_VALUE
               : record_write_failed(commands->options.store);
}

void commands_wait(struct commands *commands, const char *command_id, unsigned timeout_ms)
{
    (void)wait_until(commands, command_id, timeout_ms, is_recorded);
}
