#include "server/sandbox/sweep.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/log/log.h"
#include "server/sandbox/command_private.h"
#include "server/sandbox/command_record.h"
#include "server/store/record.h"
#include "server/util/clock.h"

#define COLD_MS 60000
#define PASS_MS 10000 /* so long a scan may keep its snapshot of the database */

/* A scan of commands by the time of their end. */
struct walk {
    const struct sweep *sweep;
    const char *project_id;
    size_t prefix_size;
    uint64_t due_ms;      /* those that ended by then */
    uint64_t deadline_ms; /* on the monotonic clock */
    bool unfinished;
};

static bool walk_goes_on(struct walk *walk)
{
    if (clock_monotonic_ms() >= walk->deadline_ms)
        walk->unfinished = true;
    return !walk->unfinished && !*walk->sweep->stop;
}

/* The command of a key, if it is due; else NULL. */
static const char *due_command(const struct walk *walk, struct bytes key, struct schema_key *copy)
{
    char *rest;

    if (key.size >= sizeof(copy->text))
        return NULL;
    memcpy(copy->text, key.data, key.size);
    copy->text[key.size] = '\0';
    copy->size = key.size;
    uint64_t end_ms = strtoull(copy->text + walk->prefix_size, &rest, 16);

    return *rest == '/' && end_ms <= walk->due_ms ? rest + 1 : NULL;
}

static int forget(const struct walk *walk, const struct schema_key *key)
{
    struct store_batch *batch = store_batch_new();

    record_delete(batch, key);
    /* Found again after a power failure, it is done again. */
    return store_commit(walk->sweep->store, batch, STORE_UNSYNCED);
}

static bool compress_visit(void *arg, struct bytes key, struct bytes value)
{
    struct walk *walk = arg;
    struct schema_key copy;
    const char *command_id = due_command(walk, key, &copy);

    (void)value;
    if (!command_id)
        return false;
    int r = log_compress(walk->sweep->log_directory, command_id, walk->sweep->stop);

    /* A damaged one stays as it is. */
    bool settled = r == 0 || r == -ENOENT || r == -EUCLEAN || r == -EIO;

    if (r == -ENOSPC || (settled && forget(walk, &copy) < 0))
        return false;
    return walk_goes_on(walk);
}

static int record_expiry(const struct walk *walk, const char *command_id)
{
    struct arena *arena = arena_new(COMMAND_ARENA_BYTES);
    Crownest__Records__CommandRecord *record;
    int r = command_record_read(walk->sweep->store, walk->project_id, command_id, arena, &record);

    if (r == 0 && !record->command->log_expired) {
        struct audit_entry entry = command_entry(record->command, "log.remove", NULL);

        entry.reason = "RETENTION";
        record->command->log_expired = true;
        r = command_record_write(walk->sweep->store, record, &entry);
    }
    arena_free(arena);
    /* Of one that cannot be read the log goes all the same. */
    return r == -EIO ? r : 0;
}

/* Recorded first, so that nobody finds neither the log nor the reason. */
static bool expire_visit(void *arg, struct bytes key, struct bytes value)
{
    struct walk *walk = arg;
    struct schema_key copy;
    const char *command_id = due_command(walk, key, &copy);

    (void)value;
    if (!command_id || record_expiry(walk, command_id) < 0)
        return false;
    int r = log_remove(walk->sweep->log_directory, command_id);

    if ((r == 0 || r == -ENOENT) && forget(walk, &copy) < 0)
        return false;
    return walk_goes_on(walk);
}

static bool walk_prefix(const struct sweep *sweep, struct walk *walk,
                        const struct schema_key *prefix, store_scan_fn *visit)
{
    walk->sweep = sweep;
    walk->prefix_size = prefix->size;
    walk->deadline_ms = clock_monotonic_ms() + PASS_MS;
    (void)store_scan(sweep->store, schema_bytes(prefix), bytes_of(NULL, 0), STORE_ASCENDING, visit,
                     walk);
    return walk->unfinished;
}

bool log_expire(const struct sweep *sweep, const char *project_id, uint64_t due_ms)
{
    struct walk walk = {.project_id = project_id, .due_ms = due_ms};
    struct schema_key prefix = schema_key("l", project_id, "", NULL);

    return walk_prefix(sweep, &walk, &prefix, expire_visit);
}

bool log_compress_cold(const struct sweep *sweep)
{
    struct walk cold = {.due_ms = sweep->now_ms > COLD_MS ? sweep->now_ms - COLD_MS : 0};
    struct schema_key ended = schema_key("lc", "", NULL, NULL);

    return walk_prefix(sweep, &cold, &ended, compress_visit);
}
