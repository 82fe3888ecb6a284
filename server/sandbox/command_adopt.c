/* Commands of an earlier process: those that still run go on, and the others get their end. */
#include "server/sandbox/command_private.h"

#include <errno.h>
#include <string.h>

#include "server/sandbox/command_record.h"
#include "server/store/record.h"
#include "server/util/clock.h"
#include "server/util/failpoint.h"
#include "server/util/prototime.h"

#define ONE_MS 1 /* a timeout that has passed: as good as now */

static uint64_t timeout_left_ms(const struct command *command, uint64_t timeout_ms)
{
    uint64_t due = command->start_us / 1000 + timeout_ms;
    uint64_t now = clock_wall_ms();

    if (timeout_ms == 0)
        return 0;
    return due > now ? due - now : ONE_MS;
}

/*
 * nest-init knows every command that it has started and that was not acknowledged, and one is
 * acknowledged only after its end was recorded. So one that it does not know was never started, and
 * is started now: whoever asked for it has an id of it, or will ask again.
 */
static struct status reach(struct command *command, Crownest__Records__CommandRecord *record)
{
    int fds[NEST_PIPE_COUNT];
    int r = nest_attach(sandbox_nest(command->sandbox), command->number, fds);

    FAILPOINT("command.reconcile.attached");
    if (r == -ESRCH)
        return command_spawn(command, record);
    if (r < 0)
        return status_unavailable("ATTACH_FAILED", "%s", strerror(-r));
    command_attach(command, fds, timeout_left_ms(command, record->timeout_ms));
    return STATUS_OK_VALUE;
}

/* It cannot be started where an earlier process said that it would be, or not be found again. */
static void lose(struct command *command)
{
    command->lost = true;
    command->lost_as = CROWNEST__V1__EXIT_CAUSE__EXIT_CAUSE_HOST_LOST;
    command->over = true;
    command_attach(command, NULL, 0);
}

void command_reach(struct command *command)
{
    struct arena *arena = arena_new(COMMAND_ARENA_BYTES);
    Crownest__Records__CommandRecord *record;
    int r = command_record_read(command->owner->options.store, command->project_id, command->id,
                                arena, &record);
    struct status status =
        r < 0 ? status_unavailable("RECORD_DAMAGED", "%s", strerror(-r)) : reach(command, record);

    if (!status_is_ok(&status))
        lose(command);
    arena_free(arena);
}

/* Without a process: its sandbox has gone, or its log. */
static int bury(struct commands *commands, Crownest__Records__CommandRecord *record,
                Crownest__V1__ExitCause cause, struct arena *arena)
{
    struct collect_result none = {0};
    struct log *log;

    FAILPOINT("command.reconcile.lost");
    record->command->exit_cause = cause;
    record->command->end_time = prototime_from_us(arena, clock_wall_us());
    record->n_env = 0;
    if (log_open(commands->log_directory, record->command->command_id, &log, NULL) == 0) {
        (void)log_end(log);
        record->command->log_bytes = log_size(log);
        log_unref(log);
    }
    return command_record_exit(commands->options.store, record, &none);
}

/* What its sandbox's tombstone says of it. */
static Crownest__V1__ExitCause end_of_sandbox(struct commands *commands, const char *project_id,
                                              const char *sandbox_id, struct arena *arena)
{
    Crownest__V1__Sandbox *sandbox;
    struct status status =
        sandboxes_get(commands->options.sandboxes, project_id, sandbox_id, arena, &sandbox);

    if (status_is_ok(&status) && sandbox->end_cause != CROWNEST__V1__END_CAUSE__END_CAUSE_HOST_LOST)
        return CROWNEST__V1__EXIT_CAUSE__EXIT_CAUSE_SANDBOX_ENDED;
    return CROWNEST__V1__EXIT_CAUSE__EXIT_CAUSE_HOST_LOST;
}

static int adopt(struct commands *commands, struct sandbox *sandbox,
                 const Crownest__Records__CommandRecord *record)
{
    struct command *command = command_new(commands, sandbox, record);
    struct err err = {0};
    int r = log_open(commands->log_directory, command->id, &command->log, &err);

    /* The crash was between the record and the file, or somebody has removed it. */
    if (r == -ENOENT)
        r = log_create(commands->log_directory, command->id, &command->log, &err);
    struct status status =
        r < 0 ? status_unavailable("LOG_FAILED", "%s", err.message) : command_admit(command, false);

    if (!status_is_ok(&status)) {
        command_unref(command);
        command_unref(command);
        return r < 0 ? r : -EAGAIN;
    }
    command->detached = sandbox_is_detached(sandbox);
    if (command->detached)
        command_attach(command, NULL, timeout_left_ms(command, record->timeout_ms));
    else
        command_reach(command);
    return 0;
}

static int settle(struct commands *commands, Crownest__Records__CommandRecord *record,
                  struct arena *arena)
{
    const char *project_id = record->command->project_id;
    const char *sandbox_id = record->command->sandbox_id;
    struct sandbox *sandbox = sandboxes_find(commands->options.sandboxes, project_id, sandbox_id);
    int r = sandbox ? adopt(commands, sandbox, record) : -ENOENT;

    sandbox_unref(sandbox);
    if (r == 0)
        return 0;
    return bury(commands, record,
                sandbox ? CROWNEST__V1__EXIT_CAUSE__EXIT_CAUSE_HOST_LOST
                        : end_of_sandbox(commands, project_id, sandbox_id, arena),
                arena);
}

static int settle_one(void *arg, const char *project_id, const char *id)
{
    struct commands *commands = arg;
    struct arena *arena = arena_new(COMMAND_ARENA_BYTES);
    Crownest__Records__CommandRecord *record;
    int r = command_record_read(commands->options.store, project_id, id, arena, &record);

    if (r == 0)
        r = settle(commands, record, arena);
    arena_free(arena);
    return r;
}

int commands_reconcile(struct commands *commands, struct sandboxes *sandboxes, struct err *err)
{
    commands->options.sandboxes = sandboxes;
    if (record_each(commands->options.store, "run", settle_one, commands) < 0)
        return err_set(err, EIO, "commands of an earlier process could not be taken over");
    return 0;
}
