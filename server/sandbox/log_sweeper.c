#include "server/sandbox/log_sweeper.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "crownest/v1/project.pb-c.h"
#include "server/log/log.h"
#include "server/sandbox/command_private.h"
#include "server/sandbox/command_record.h"
#include "server/store/record.h"
#include "server/util/cleanup.h"
#include "server/util/clock.h"
#include "server/util/cond.h"
#include "server/util/limits.h"
#include "server/util/prototime.h"

#define COLD_MS 60000
#define INTERVAL_MS 5000
#define PASS_MS 10000 /* so long a scan may keep its snapshot of the database */
#define NICE 10

/* A scan of commands by the time of their end. */
struct walk {
    const struct log_sweep *sweep;
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

static bool walk_prefix(const struct log_sweep *sweep, struct walk *walk,
                        const struct schema_key *prefix, store_scan_fn *visit)
{
    walk->sweep = sweep;
    walk->prefix_size = prefix->size;
    walk->deadline_ms = clock_monotonic_ms() + PASS_MS;
    (void)store_scan(sweep->store, schema_bytes(prefix), bytes_of(NULL, 0), STORE_ASCENDING, visit,
                     walk);
    return walk->unfinished;
}

static uint64_t retention_ms(const Crownest__V1__Project *project)
{
    uint64_t ms;

    if (project->log_retention && protoduration_ms(project->log_retention, UINT64_MAX, &ms) == 0)
        return ms;
    return LIMIT_LOG_RETENTION_DEFAULT_S * 1000ULL;
}

struct expiry {
    const struct log_sweep *sweep;
    bool unfinished;
};

static bool project_visit(void *arg, struct bytes key, struct bytes value)
{
    struct expiry *expiry = arg;
    Crownest__V1__Project *project = crownest__v1__project__unpack(NULL, value.size, value.data);

    (void)key;
    if (project) {
        uint64_t keep_ms = retention_ms(project);
        uint64_t now_ms = expiry->sweep->now_ms;
        struct walk walk = {.project_id = project->project_id,
                            .due_ms = now_ms > keep_ms ? now_ms - keep_ms : 0};
        struct schema_key prefix = schema_key("l", project->project_id, "", NULL);

        expiry->unfinished |= walk_prefix(expiry->sweep, &walk, &prefix, expire_visit);
        crownest__v1__project__free_unpacked(project, NULL);
    }
    return !*expiry->sweep->stop;
}

bool log_sweep(const struct log_sweep *sweep)
{
    struct expiry expiry = {.sweep = sweep};
    struct walk cold = {.due_ms = sweep->now_ms > COLD_MS ? sweep->now_ms - COLD_MS : 0};
    struct schema_key projects = schema_key("j", "", NULL, NULL);
    struct schema_key ended = schema_key("lc", "", NULL, NULL);

    (void)store_scan(sweep->store, schema_bytes(&projects), bytes_of(NULL, 0), STORE_ASCENDING,
                     project_visit, &expiry);
    bool unfinished = walk_prefix(sweep, &cold, &ended, compress_visit);

    return unfinished || expiry.unfinished;
}

struct log_sweeper {
    struct log_sweep sweep;
    char *log_directory;
    atomic_bool stop;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t stopped;
};

static void rest(struct log_sweeper *sweeper)
{
    struct timespec deadline = cond_deadline(INTERVAL_MS);
    int r = 0;

    lock_scope(&sweeper->mutex);
    while (!sweeper->stop && r == 0)
        r = pthread_cond_timedwait(&sweeper->stopped, &sweeper->mutex, &deadline);
}

static void *sweeper_thread(void *arg)
{
    struct log_sweeper *sweeper = arg;

    /* Of this thread alone, on Linux. */
    (void)setpriority(PRIO_PROCESS, 0, NICE);
    while (!sweeper->stop) {
        sweeper->sweep.now_ms = clock_wall_ms();
        if (!log_sweep(&sweeper->sweep))
            rest(sweeper);
    }
    return NULL;
}

struct log_sweeper *log_sweeper_new(struct store *store, const char *log_directory)
{
    struct log_sweeper *sweeper = calloc(1, sizeof(*sweeper));

    if (!sweeper)
        abort();
    sweeper->log_directory = strdup(log_directory);
    sweeper->sweep = (struct log_sweep){
        .store = store, .log_directory = sweeper->log_directory, .stop = &sweeper->stop};
    (void)pthread_mutex_init(&sweeper->mutex, NULL);
    cond_init(&sweeper->stopped);
    if (pthread_create(&sweeper->thread, NULL, sweeper_thread, sweeper) != 0)
        abort();
    (void)pthread_setname_np(sweeper->thread, "log-sweeper");
    return sweeper;
}

void log_sweeper_free(struct log_sweeper *sweeper)
{
    if (!sweeper)
        return;
    (void)pthread_mutex_lock(&sweeper->mutex);
    sweeper->stop = true;
    (void)pthread_cond_signal(&sweeper->stopped);
    (void)pthread_mutex_unlock(&sweeper->mutex);
    (void)pthread_join(sweeper->thread, NULL);
    (void)pthread_cond_destroy(&sweeper->stopped);
    (void)pthread_mutex_destroy(&sweeper->mutex);
    free(sweeper->log_directory);
    free(sweeper);
}
