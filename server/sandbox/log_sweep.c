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
#define PASS_MS 10000
#define AT_ONCE 64

/*
 * Commands by the time of their end, a few at a time: what is done with them writes, and a scan
 * that is under way may be what a write waits for.
 */
struct walk {
    const struct sweep *sweep;
    const char *project_id;
    size_t prefix_size;
    uint64_t due_ms;      /* those that ended by then */
    uint64_t deadline_ms; /* on the monotonic clock */
    struct schema_key found[AT_ONCE];
    size_t count;
};

/* The command of a key, if it is due; else NULL. */
static const char *due_command(const struct walk *walk, const struct schema_key *key)
{
    char *rest;
    uint64_t end_ms = strtoull(key->text + walk->prefix_size, &rest, 16);

    return *rest == '/' && end_ms <= walk->due_ms ? rest + 1 : NULL;
}

static bool note_due(void *arg, struct bytes key, struct bytes value)
{
    struct walk *walk = arg;
    struct schema_key *found = &walk->found[walk->count];

    (void)value;
    if (key.size >= sizeof(found->text))
        return false;
    memcpy(found->text, key.data, key.size);
    found->text[key.size] = '\0';
    found->size = key.size;
    if (!due_command(walk, found))
        return false;
    return ++walk->count < AT_ONCE;
}

static int forget(const struct walk *walk, const struct schema_key *key)
{
    struct store_batch *batch = store_batch_new();

    record_delete(batch, key);
    /* Found again after a power failure, it is done again. */
    return store_commit(walk->sweep->store, batch, STORE_UNSYNCED);
}

/* Returns whether to go on; so does expire. */
static bool compress(const struct walk *walk, const struct schema_key *key)
{
    int r = log_compress(walk->sweep->log_directory, due_command(walk, key), walk->sweep->stop);

    /* A damaged one stays as it is. */
    bool settled = r == 0 || r == -ENOENT || r == -EUCLEAN || r == -EIO;

    return r != -ENOSPC && (!settled || forget(walk, key) == 0);
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
static bool expire(const struct walk *walk, const struct schema_key *key)
{
    const char *command_id = due_command(walk, key);

    if (record_expiry(walk, command_id) < 0)
        return false;
    int r = log_remove(walk->sweep->log_directory, command_id);

    return (r != 0 && r != -ENOENT) || forget(walk, key) == 0;
}

/* Returns whether it ended early, for having taken long. */
static bool walk_prefix(const struct sweep *sweep, struct walk *walk,
                        const struct schema_key *prefix,
                        bool (*act)(const struct walk *walk, const struct schema_key *key))
{
    struct schema_key start = *prefix;

    walk->sweep = sweep;
    walk->prefix_size = prefix->size;
    walk->deadline_ms = clock_monotonic_ms() + PASS_MS;
    do {
        walk->count = 0;
        (void)store_scan(sweep->store, schema_bytes(prefix), schema_bytes(&start), STORE_ASCENDING,
                         note_due, walk);
        for (size_t i = 0; i < walk->count; i++) {
            if (!act(walk, &walk->found[i]) || *sweep->stop)
                return false;
            if (clock_monotonic_ms() >= walk->deadline_ms)
                return true;
        }
        /* The NUL behind a key makes the least of those that follow it. */
        if (walk->count > 0)
            start = walk->found[walk->count - 1];
        start.size++;
    } while (walk->count == AT_ONCE);
    return false;
}

bool log_expire(const struct sweep *sweep, const char *project_id, uint64_t due_ms)
{
    struct walk walk = {.project_id = project_id, .due_ms = due_ms};
    struct schema_key prefix = schema_key("l", project_id, "", NULL);

    return walk_prefix(sweep, &walk, &prefix, expire);
}

bool log_compress_cold(const struct sweep *sweep)
{
    struct walk cold = {.due_ms = sweep->now_ms > COLD_MS ? sweep->now_ms - COLD_MS : 0};
    struct schema_key ended = schema_key("lc", "", NULL, NULL);

    return walk_prefix(sweep, &cold, &ended, compress);
}
