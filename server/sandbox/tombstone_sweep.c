/*
 * What is left of a sandbox goes in one batch, or, when it had very many commands, in several that
 * begin with them: as long as its record is there the next pass goes on. The files of logs go
 * afterwards, by a note that the batch leaves in place of the records.
 */
#include "server/sandbox/sweep.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "server/log/log.h"
#include "server/sandbox/command_private.h"
#include "server/sandbox/command_record.h"
#include "server/store/record.h"
#include "server/util/failpoint.h"
#include "server/util/id.h"
#include "server/util/prototime.h"

#define AT_ONCE 256 /* sandboxes of a pass, and commands of a batch */

/* Ids that a scan has found, to be worked on after it. */
struct found {
    char ids[AT_ONCE][ID_SIZE];
    size_t count;
    size_t prefix_size;
    uint64_t due_ms;
};

/* The end of a key is an id. */
static void note_id(struct found *found, struct bytes key)
{
    size_t size = key.size - found->prefix_size;

    if (size == 0 || size >= ID_SIZE)
        return;
    memcpy(found->ids[found->count], key.data + found->prefix_size, size);
    found->ids[found->count++][size] = '\0';
}

static bool note_visit(void *arg, struct bytes key, struct bytes value)
{
    struct found *found = arg;

    (void)value;
    note_id(found, key);
    return found->count < AT_ONCE;
}

static int find(const struct sweep *sweep, const struct schema_key *prefix, store_scan_fn *visit,
                struct found *found)
{
    found->count = 0;
    found->prefix_size = prefix->size;
    return store_scan(sweep->store, schema_bytes(prefix), bytes_of(NULL, 0), STORE_ASCENDING, visit,
                      found);
}

/* What a command has in the database; -EBUSY: its end is not recorded yet. */
static int delete_command(const struct sweep *sweep, struct store_batch *batch,
                          const Crownest__V1__Sandbox *sandbox, const char *command_id)
{
    struct arena *arena = arena_new(COMMAND_ARENA_BYTES);
    Crownest__Records__CommandRecord *record;
    int r = command_record_read(sweep->store, sandbox->project_id, command_id, arena, &record);
    struct schema_key keys[] = {
        schema_key("c", sandbox->project_id, command_id, NULL),
        schema_key("cs", sandbox->project_id, sandbox->sandbox_id, command_id),
    };
    struct schema_key log = schema_key("lx", command_id, NULL, NULL);

    if (r == 0 && !record->command->end_time)
        r = -EBUSY;
    if (r == 0) {
        char end[17];

        (void)snprintf(end, sizeof(end), "%016llx",
                       (unsigned long long)prototime_ms(record->command->end_time));
        struct schema_key cold = schema_key("lc", end, command_id, NULL);
        struct schema_key kept = schema_key("l", sandbox->project_id, end, command_id);

        record_delete(batch, &cold);
        record_delete(batch, &kept);
    }
    arena_free(arena);
    if (r == -EIO || r == -EBUSY)
        return r;
    for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
        record_delete(batch, &keys[i]);
    record_put_string(batch, &log, "");
    return 0;
}

static int delete_previews(const struct sweep *sweep, struct store_batch *batch,
                           const Crownest__V1__Sandbox *sandbox)
{
    struct schema_key all = schema_key("ps", sandbox->project_id, sandbox->sandbox_id, "");
    struct found previews;
    int r = find(sweep, &all, note_visit, &previews);

    for (size_t i = 0; i < previews.count; i++) {
        const char *id = previews.ids[i];
        struct schema_key keys[] = {schema_key("p", sandbox->project_id, id, NULL),
                                    schema_key("pi", id, NULL, NULL),
                                    schema_key("ps", sandbox->project_id, sandbox->sandbox_id, id)};

        for (size_t k = 0; k < sizeof(keys) / sizeof(*keys); k++)
            record_delete(batch, &keys[k]);
    }
    return r;
}

static void add_entry(struct store_batch *batch, const Crownest__V1__Sandbox *sandbox,
                      enum audit_outcome outcome, size_t commands)
{
    char detail[48];

    (void)snprintf(detail, sizeof(detail), "%zu commands", commands);
    audit_add(batch, &(struct audit_entry){.action = "sandbox.remove",
                                           .resource_id = sandbox->sandbox_id,
                                           .project_id = sandbox->project_id,
                                           .outcome = outcome,
                                           .reason = "RETENTION",
                                           .detail = detail});
}

/* Fills the batch; returns 1 when that is the last one, 0 when there is more, or -errno. */
static int fill_batch(const struct sweep *sweep, const Crownest__V1__Sandbox *sandbox,
                      struct store_batch *batch)
{
    struct schema_key all = schema_key("cs", sandbox->project_id, sandbox->sandbox_id, "");
    struct schema_key record = schema_key("s", sandbox->project_id, sandbox->sandbox_id, NULL);
    struct found commands;
    int r = find(sweep, &all, note_visit, &commands);

    for (size_t i = 0; i < commands.count && r == 0; i++)
        r = delete_command(sweep, batch, sandbox, commands.ids[i]);
    if (r == 0 && commands.count < AT_ONCE) {
        r = delete_previews(sweep, batch, sandbox);
        record_delete(batch, &record);
        add_entry(batch, sandbox, AUDIT_OK, commands.count);
        return r < 0 ? r : 1;
    }
    add_entry(batch, sandbox, AUDIT_BEGUN, commands.count);
    return r;
}

static int remove_sandbox(const struct sweep *sweep, const Crownest__V1__Sandbox *sandbox)
{
    int r = 0;

    while (r == 0 && !*sweep->stop) {
        struct store_batch *batch = store_batch_new();

        r = fill_batch(sweep, sandbox, batch);
        if (r < 0) {
            store_batch_free(batch);
            return r;
        }
        int written = store_commit(sweep->store, batch, STORE_SYNCED);

        FAILPOINT("tombstone.removed");
        if (written < 0)
            return written;
    }
    return r < 0 ? r : 0;
}

/*
 * Ids begin with the time at which they were made, and nothing ends before: the first sandbox that
 * is younger than what is due ends the scan.
 */
static bool due_visit(void *arg, struct bytes key, struct bytes value)
{
    struct found *found = arg;
    Crownest__Records__SandboxRecord *record =
        crownest__records__sandbox_record__unpack(NULL, value.size, value.data);
    const Crownest__V1__Sandbox *sandbox = record ? record->sandbox : NULL;
    bool old = !sandbox || prototime_ms(sandbox->create_time) <= found->due_ms;

    if (sandbox && old && sandbox->end_time && prototime_ms(sandbox->end_time) <= found->due_ms)
        note_id(found, key);
    if (record)
        crownest__records__sandbox_record__free_unpacked(record, NULL);
    return old && found->count < AT_ONCE;
}

bool tombstone_expire(const struct sweep *sweep, const char *project_id, uint64_t due_ms)
{
    struct schema_key all = schema_key("s", project_id, "", NULL);
    struct found found = {.due_ms = due_ms};
    int r = find(sweep, &all, due_visit, &found);
    size_t removed = 0;

    for (size_t i = 0; i < found.count && r != -EIO && r != -ENOSPC && !*sweep->stop; i++) {
        Crownest__V1__Sandbox sandbox = CROWNEST__V1__SANDBOX__INIT;

        sandbox.project_id = (char *)(uintptr_t)project_id;
        sandbox.sandbox_id = found.ids[i];
        r = remove_sandbox(sweep, &sandbox);
        removed += r == 0;
    }
    return found.count == AT_ONCE && removed > 0;
}

bool tombstone_logs(const struct sweep *sweep)
{
    struct schema_key all = schema_key("lx", "", NULL, NULL);
    struct store_batch *batch = store_batch_new();
    struct found found;
    size_t removed = 0;

    (void)find(sweep, &all, note_visit, &found);
    for (size_t i = 0; i < found.count && !*sweep->stop; i++) {
        struct schema_key key = schema_key("lx", found.ids[i], NULL, NULL);
        int r = log_remove(sweep->log_directory, found.ids[i]);

        if (r < 0 && r != -ENOENT)
            continue;
        record_delete(batch, &key);
        removed++;
    }
    /* Found again after a power failure, they are removed again. */
    if (removed == 0)
        store_batch_free(batch);
    else if (store_commit(sweep->store, batch, STORE_UNSYNCED) < 0)
        return false;
    return found.count == AT_ONCE && removed > 0;
}
