#include "server/sandbox/command_record.h"

#include <errno.h>
#include <stdio.h>

#include "server/store/record.h"
#include "server/util/id.h"
#include "server/util/prototime.h"

/* Where a command stands: by its id, among those that run, and among those of its sandbox. */
struct places {
    struct schema_key record;
    struct schema_key running;
    struct schema_key by_sandbox;
};

static struct places places_of(const Crownest__V1__Command *command)
{
    return (struct places){
        .record = schema_key("c", command->project_id, command->command_id, NULL),
        .running = schema_key("run", command->command_id, NULL, NULL),
        .by_sandbox =
            schema_key("cs", command->project_id, command->sandbox_id, command->command_id)};
}

struct audit_entry command_entry(const Crownest__V1__Command *command, const char *action,
                                 const struct audit_actor *by)
{
    return (struct audit_entry){.actor = by,
                                .action = action,
                                .resource_id = command->command_id,
                                .project_id = command->project_id,
                                .sandbox_id = command->sandbox_id};
}

int command_record_read(struct store *store, const char *project_id, const char *command_id,
                        struct arena *arena, Crownest__Records__CommandRecord **ret_record)
{
    struct schema_key key = schema_key("c", project_id, command_id, NULL);

    if (!id_valid("cmd_", command_id))
        return -ENOENT;
    return record_get(store, &key, &crownest__records__command_record__descriptor, arena,
                      ret_record);
}

int command_record_start(struct store *store, const Crownest__Records__CommandRecord *record,
                         const struct command_commit *commit)
{
    struct places places = places_of(record->command);
    struct audit_entry entry = command_entry(record->command, "command.start", commit->by);
    struct store_batch *batch = store_batch_new();

    audit_add(batch, &entry);
    record_put(batch, &places.record, &record->base);
    record_put_string(batch, &places.running, record->command->project_id);
    record_put_string(batch, &places.by_sandbox, "");
    commit->add(commit->arg, batch, record->command);
    return store_commit(store, batch, STORE_SYNCED);
}

int command_record_write(struct store *store, const Crownest__Records__CommandRecord *record,
                         const struct audit_entry *entry)
{
    struct places places = places_of(record->command);
    struct store_batch *batch = store_batch_new();

    audit_add(batch, entry);
    record_put(batch, &places.record, &record->base);
    return store_commit(store, batch, STORE_SYNCED);
}

int command_record_take_back(struct store *store, const Crownest__V1__Command *command,
                             const struct command_commit *commit, const char *reason)
{
    struct places places = places_of(command);
    struct audit_entry entry = command_entry(command, "command.start", commit->by);
    struct store_batch *batch = store_batch_new();

    entry.outcome = AUDIT_FAILED;
    entry.reason = reason;
    audit_add(batch, &entry);

    record_delete(batch, &places.record);
    record_delete(batch, &places.running);
    record_delete(batch, &places.by_sandbox);
    commit->take_back(commit->arg, batch);
    return store_commit(store, batch, STORE_SYNCED);
}

/* How it ended, for people. */
static void add_exit_entry(struct store_batch *batch, const Crownest__V1__Command *command)
{
    const ProtobufCEnumValue *cause = protobuf_c_enum_descriptor_get_value(
        &crownest__v1__exit_cause__descriptor, (int)command->exit_cause);
    struct audit_entry entry = command_entry(command, "command.end", NULL);
    char detail[48];

    if (command->signal)
        (void)snprintf(detail, sizeof(detail), "signal %d", (int)command->signal);
    else
        (void)snprintf(detail, sizeof(detail), "exit code %d", (int)command->exit_code);
    entry.reason = cause ? cause->name + sizeof("EXIT_CAUSE_") - 1 : "";
    entry.detail = detail;
    audit_add(batch, &entry);
}

int command_record_exit(struct store *store, const Crownest__Records__CommandRecord *record,
                        const struct collect_result *collected)
{
    const Crownest__V1__Command *command = record->command;
    struct places places = places_of(command);
    struct store_batch *batch = store_batch_new();
    char end[17];

    (void)snprintf(end, sizeof(end), "%016llx",
                   (unsigned long long)prototime_ms(command->end_time));
    struct schema_key cold = schema_key("lc", end, command->command_id, NULL);
    struct schema_key kept = schema_key("l", command->project_id, end, command->command_id);

    record_put(batch, &places.record, &record->base);
    record_delete(batch, &places.running);
    record_put_string(batch, &cold, "");
    record_put_string(batch, &kept, "");
    add_exit_entry(batch, command);
    collect_record(batch, collected, NULL);
    return store_commit(store, batch, STORE_SYNCED);
}
