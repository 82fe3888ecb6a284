#include "server/store/writer.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "server/store/chain.h"
#include "server/store/mark.h"
#include "server/util/cleanup.h"
#include "server/util/clock.h"
#include "server/util/cond.h"
#include "server/util/failpoint.h"

#define QUEUE_PLACES 1024
#define GROUP_BYTES (4U << 20)
/* Between two attempts to heal: while there is no room, which is cheap to know; and else. */
#define ROOM_PAUSE_MS 200
#define PAUSE_MIN_MS 500
#define PAUSE_MAX_MS 10000
/* A database that fails again so soon is not opened anew for each write. */
#define CALM_MS 5000
#define RETRY_AFTER_MS 2000 /* what clients are told */

enum condition {
    WORKS,
    NO_ROOM,
    BROKEN,
    UNCERTAIN, /* what was there before could not be read: only a restart helps */
};

/* One caller's commit; on its stack while it waits. */
struct pending {
    struct pending *next;
    const struct store_batch *batch;
    bool sync;
    bool done;
    int result;
    pthread_cond_t wake;
};

struct writer {
    struct database *database;
    struct space *space;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t work; /* for the thread: something is queued, or it shall stop */
    pthread_cond_t room; /* for callers: a place is free */
    struct pending *head;
    struct pending **tail;
    unsigned queued;
    bool stopping;

    _Atomic(enum condition) condition; /* changed by the thread */
    pthread_mutex_t watch_mutex;       /* of the watch; nothing is taken under it */
    store_watch_fn *changed;
    void *changed_arg;

    /* The thread's own. */
    struct chain chain;
    struct store_batch before; /* puts back what a failed group was about to change */
    uint64_t calm_at_ms;
    uint64_t retry_at_ms;
    unsigned pause_ms;
    bool unmarked; /* a write is on disk, and the mark does not say so */
};

/* Takes from the front what fits into one write, the first in any case. Holds the mutex. */
static struct pending *take_group(struct writer *writer)
{
    struct pending *group = writer->head;
    struct pending *last = group;
    size_t size = batch_size(group->batch);

    writer->queued--;
    while (last->next && size + batch_size(last->next->batch) <= GROUP_BYTES) {
        last = last->next;
        size += batch_size(last->batch);
        writer->queued--;
    }
    writer->head = last->next;
    if (!writer->head)
        writer->tail = &writer->head;
    last->next = NULL;
    (void)pthread_cond_broadcast(&writer->room);
    return group;
}

static void add_ops(rocksdb_writebatch_t *joined, const struct store_batch *batch)
{
    struct batch_op op;
    const char *key;

    for (size_t at = 0; batch_next(batch, &at, &op, &key);) {
        if (op.kind == BATCH_PUT)
            rocksdb_writebatch_put(joined, key, op.key_size, key + op.key_size, op.value_size);
        else
            rocksdb_writebatch_delete(joined, key, op.key_size);
    }
}

static void move_mark(struct writer *writer)
{
    struct database *database = writer->database;
    uint64_t sequence = rocksdb_get_latest_sequence_number(database->db);

    database->mark = sequence;
    writer->unmarked = mark_write(database->mark_fd, sequence) < 0;
}

/* RocksDB's errors are texts, with the system's own at the end. */
static int write_error(char *error)
{
    bool full = strstr(error, "No space left") || strstr(error, "Disk quota exceeded");

    rocksdb_free(error);
    return full ? -ENOSPC : -EIO;
}

static int write_group(struct writer *writer, const struct pending *group)
{
    int told = FAILPOINT_ERROR("store.write.before");

    if (told < 0)
        return told;
    rocksdb_writebatch_t *joined = rocksdb_writebatch_create();
    rocksdb_writeoptions_t *options = rocksdb_writeoptions_create();
    bool sync = false;
    char *error = NULL;

    for (const struct pending *pending = group; pending; pending = pending->next) {
        add_ops(joined, pending->batch);
        sync = sync || pending->sync;
    }
    add_ops(joined, &writer->chain.sealed);
    rocksdb_writeoptions_set_sync(options, sync);
    rocksdb_write(writer->database->db, options, joined, &error);
    rocksdb_writeoptions_destroy(options);
    rocksdb_writebatch_destroy(joined);
    if (error)
        return write_error(error);
    if (FAILPOINT_ERROR("store.write.after") < 0)
        return -EIO;
    if (sync)
        move_mark(writer);
    return 0;
}

/* Healing */

struct status writer_condition(struct writer *writer)
{
    struct status status = STATUS_OK_VALUE;

    switch (atomic_load(&writer->condition)) {
    case WORKS:
        return status;
    case NO_ROOM:
        status = status_unavailable("DISK_FULL", "the service's disk is full: it answers what it "
                                                 "has, and changes nothing until its operator has "
                                                 "made room; then try again");
        break;
    case BROKEN:
        status = status_unavailable("STORE_FAILED", "the service cannot write its database: it "
                                                    "answers what it has, changes nothing, and "
                                                    "tries by itself to recover; try again");
        break;
    case UNCERTAIN:
        status = status_unavailable("STORE_FAILED", "the service can neither write nor read its "
                                                    "database: its operator has to look after the "
                                                    "disk, and restart it");
        break;
    }
    status.retry_after_ms = RETRY_AFTER_MS;
    return status;
}

static void tell(struct writer *writer)
{
    lock_scope(&writer->watch_mutex);
    struct status status = writer_condition(writer);

    if (writer->changed)
        writer->changed(writer->changed_arg, &status);
}

void writer_watch(struct writer *writer, store_watch_fn *changed, void *arg)
{
    (void)pthread_mutex_lock(&writer->watch_mutex);
    writer->changed = changed;
    writer->changed_arg = arg;
    (void)pthread_mutex_unlock(&writer->watch_mutex);
    tell(writer);
}

static void enter(struct writer *writer, enum condition condition)
{
    if (atomic_exchange(&writer->condition, condition) != condition)
        tell(writer);
}

/* Nothing is written until the next attempt. */
static void fail(struct writer *writer, int error)
{
    if (error == -ENOSPC) {
        writer->pause_ms = ROOM_PAUSE_MS;
    } else {
        writer->pause_ms *= 2;
        if (writer->pause_ms < PAUSE_MIN_MS)
            writer->pause_ms = PAUSE_MIN_MS;
        if (writer->pause_ms > PAUSE_MAX_MS)
            writer->pause_ms = PAUSE_MAX_MS;
    }
    writer->retry_at_ms = clock_monotonic_ms() + writer->pause_ms;
    enter(writer, error == -EUCLEAN ? UNCERTAIN : error == -ENOSPC ? NO_ROOM : BROKEN);
}

static int note_before(struct writer *writer, const char *key, size_t size)
{
    struct database *database = writer->database;
    char *error = NULL;
    size_t value_size;
    char *value = rocksdb_get(database->db, database->read_options, key, size, &value_size, &error);

    if (error) {
        rocksdb_free(error);
        return -EUCLEAN;
    }
    if (value)
        store_batch_put(&writer->before, bytes_of(key, size), bytes_of(value, value_size));
    else
        store_batch_delete(&writer->before, bytes_of(key, size));
    rocksdb_free(value);
    return 0;
}

static int note_batch_before(struct writer *writer, const struct store_batch *batch)
{
    struct batch_op op;
    const char *key;
    int result = 0;

    for (size_t at = 0; result == 0 && batch_next(batch, &at, &op, &key);)
        result = note_before(writer, key, op.key_size);
    return result;
}

/* While RocksDB's object lives it knows nothing of a write that failed. */
static int note_all_before(struct writer *writer, const struct pending *group)
{
    int result = note_batch_before(writer, &writer->chain.sealed);

    for (const struct pending *pending = group; pending && result == 0; pending = pending->next)
        result = note_batch_before(writer, pending->batch);
    return result;
}

/* When it succeeds nobody has seen what RocksDB's log may hold of a failed write. */
static int reopen_and_write(struct writer *writer, const struct pending *group)
{
    struct err err;

    if (!database_has_room(writer->database))
        return -ENOSPC;
    database_keep_out(writer->database);
    int result = database_reopen(writer->database, &err);

    if (result == 0)
        result = write_group(writer, group);
    database_leave(writer->database);
    return result == 0 || result == -ENOSPC ? result : -EIO;
}

/* The group has failed. Returns 0 when it is written after all. */
static int write_again(struct writer *writer, const struct pending *group, int error)
{
    uint64_t now = clock_monotonic_ms();
    bool calm = now >= writer->calm_at_ms;

    writer->calm_at_ms = now + CALM_MS;
    if (error == -ENOSPC && writer->space)
        space_give_way(writer->space);
    int result = note_all_before(writer, group);

    if (result == 0)
        result = calm ? reopen_and_write(writer, group) : error;
    if (result == 0)
        buf_done(&writer->before.ops);
    return result;
}

static int serve(struct writer *writer, const struct pending *group)
{
    for (const struct pending *pending = group; pending; pending = pending->next)
        chain_seal(&writer->chain, pending->batch);
    int result = write_group(writer, group);

    if (result < 0)
        result = write_again(writer, group, result);
    if (result < 0)
        chain_clear(&writer->chain);
    else
        chain_advance(&writer->chain);
    if (result < 0 || writer->unmarked)
        fail(writer, result < 0 ? result : -EIO);
    return result == -ENOSPC ? -ENOSPC : result < 0 ? -EIO : 0;
}

static void heal(struct writer *writer)
{
    struct pending before = {.batch = &writer->before, .sync = true};
    int result = reopen_and_write(writer, &before);

    if (result < 0 || writer->unmarked) {
        fail(writer, result < 0 ? result : -EIO);
        return;
    }
    buf_done(&writer->before.ops);
    writer->pause_ms = 0;
    enter(writer, WORKS);
}

/* The thread */

/* A pending is gone as soon as its owner sees done and gets the mutex. Holds the mutex. */
static void answer_group(struct pending *group, int result)
{
    for (struct pending *pending = group, *next; pending; pending = next) {
        next = pending->next;
        pending->result = result;
        pending->done = true;
        (void)pthread_cond_signal(&pending->wake);
    }
}

static bool retry_due(const struct writer *writer)
{
    enum condition condition = atomic_load(&writer->condition);

    return (condition == NO_ROOM || condition == BROKEN) &&
           clock_monotonic_ms() >= writer->retry_at_ms;
}

/* Until something is queued, it shall stop, or it is time to heal. Holds the mutex. */
static void await_work(struct writer *writer)
{
    while (!writer->head && !writer->stopping && !retry_due(writer)) {
        enum condition condition = atomic_load(&writer->condition);

        if (condition == NO_ROOM || condition == BROKEN) {
            struct timespec at = cond_deadline(writer->pause_ms);

            (void)pthread_cond_timedwait(&writer->work, &writer->mutex, &at);
        } else {
            (void)pthread_cond_wait(&writer->work, &writer->mutex);
        }
    }
}

static void *writer_main(void *arg)
{
    struct writer *writer = arg;

    lock_scope(&writer->mutex);
    for (;;) {
        await_work(writer);
        if (!writer->stopping && retry_due(writer)) {
            (void)pthread_mutex_unlock(&writer->mutex);
            heal(writer);
            (void)pthread_mutex_lock(&writer->mutex);
        }
        if (!writer->head && writer->stopping)
            return NULL;
        if (!writer->head)
            continue;
        struct pending *group = take_group(writer);
        int result = atomic_load(&writer->condition) == NO_ROOM ? -ENOSPC : -EIO;

        if (atomic_load(&writer->condition) == WORKS) {
            (void)pthread_mutex_unlock(&writer->mutex);
            result = FAILPOINT_SKIP("broken.write") ? 0 : serve(writer, group);
            FAILPOINT("store.write.marked");
            (void)pthread_mutex_lock(&writer->mutex);
        }
        answer_group(group, result);
    }
}

static void destroy(struct writer *writer)
{
    chain_done(&writer->chain);
    buf_done(&writer->before.ops);
    (void)pthread_mutex_destroy(&writer->watch_mutex);
    (void)pthread_cond_destroy(&writer->room);
    (void)pthread_cond_destroy(&writer->work);
    (void)pthread_mutex_destroy(&writer->mutex);
    free(writer);
}

int writer_new(struct database *database, struct space *space, const struct store_chain *chain,
               struct writer **ret_writer)
{
    struct writer *writer = calloc(1, sizeof(*writer));

    if (!writer)
        abort();
    writer->database = database;
    writer->space = space;
    writer->tail = &writer->head;
    (void)pthread_mutex_init(&writer->mutex, NULL);
    (void)pthread_mutex_init(&writer->watch_mutex, NULL);
    cond_init(&writer->work);
    (void)pthread_cond_init(&writer->room, NULL);
    int result = chain_init(&writer->chain, chain, database->db, database->read_options);

    if (result == 0)
        result = -pthread_create(&writer->thread, NULL, writer_main, writer);

    if (result < 0) {
        destroy(writer);
        return result;
    }
    (void)pthread_setname_np(writer->thread, "store-writer");
    *ret_writer = writer;
    return 0;
}

void writer_free(struct writer *writer)
{
    if (!writer)
        return;
    (void)pthread_mutex_lock(&writer->mutex);
    writer->stopping = true;
    (void)pthread_cond_signal(&writer->work);
    (void)pthread_mutex_unlock(&writer->mutex);
    (void)pthread_join(writer->thread, NULL);
    destroy(writer);
}

int writer_commit(struct writer *writer, const struct store_batch *batch, bool sync)
{
    struct pending pending = {.batch = batch, .sync = sync};

    if (chain_is_bypassed(&writer->chain, batch))
        return -EPERM;
    (void)pthread_cond_init(&pending.wake, NULL);
    (void)pthread_mutex_lock(&writer->mutex);
    while (writer->queued >= QUEUE_PLACES)
        (void)pthread_cond_wait(&writer->room, &writer->mutex);
    *writer->tail = &pending;
    writer->tail = &pending.next;
    if (writer->queued++ == 0)
        (void)pthread_cond_signal(&writer->work);
    while (!pending.done)
        (void)pthread_cond_wait(&pending.wake, &writer->mutex);
    (void)pthread_mutex_unlock(&writer->mutex);
    (void)pthread_cond_destroy(&pending.wake);
    return pending.result;
}

uint64_t writer_last_entry(const struct writer *writer)
{
    return atomic_load(&writer->chain.last);
}
