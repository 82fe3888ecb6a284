#include "server/store/writer.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "server/store/mark.h"
#include "server/util/cleanup.h"

#define QUEUE_PLACES 1024
#define GROUP_BYTES (4U << 20)

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
    rocksdb_t *db;
    int mark_fd;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t work; /* for the thread: something is queued, or it shall stop */
    pthread_cond_t room; /* for callers: a place is free */
    struct pending *head;
    struct pending **tail;
    unsigned queued;
    bool stopping;
    bool failed;
};

/* Takes from the front what fits into one write, the first in any case. Holds the mutex. */
static struct pending *take_group(struct writer *writer)
{
    struct pending *group = writer->head;
    struct pending *last = group;
    size_t size = group->batch->ops.size;

    writer->queued--;
    while (last->next && size + last->next->batch->ops.size <= GROUP_BYTES) {
        last = last->next;
        size += last->batch->ops.size;
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
    const uint8_t *at = batch->ops.data;
    const uint8_t *end = at + batch->ops.size;

    while (at < end) {
        struct batch_op op;

        memcpy(&op, at, sizeof(op));
        const char *key = (const char *)at + sizeof(op);

        if (op.kind == BATCH_PUT)
            rocksdb_writebatch_put(joined, key, op.key_size, key + op.key_size, op.value_size);
        else
            rocksdb_writebatch_delete(joined, key, op.key_size);
        at += sizeof(op) + op.key_size + op.value_size;
    }
}

static int write_group(struct writer *writer, const struct pending *group)
{
    rocksdb_writebatch_t *joined = rocksdb_writebatch_create();
    rocksdb_writeoptions_t *options = rocksdb_writeoptions_create();
    bool sync = false;
    char *error = NULL;

    for (const struct pending *pending = group; pending; pending = pending->next) {
        add_ops(joined, pending->batch);
        sync = sync || pending->sync;
    }
    rocksdb_writeoptions_set_sync(options, sync);
    rocksdb_write(writer->db, options, joined, &error);
    rocksdb_writeoptions_destroy(options);
    rocksdb_writebatch_destroy(joined);
    if (error) {
        rocksdb_free(error);
        return -EIO;
    }
    return sync ? mark_write(writer->mark_fd, rocksdb_get_latest_sequence_number(writer->db)) : 0;
}

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

static void *writer_main(void *arg)
{
    struct writer *writer = arg;

    lock_scope(&writer->mutex);
    for (;;) {
        while (!writer->head && !writer->stopping)
            (void)pthread_cond_wait(&writer->work, &writer->mutex);
        if (!writer->head)
            return NULL;
        struct pending *group = take_group(writer);
        int result = -EIO;

        if (!writer->failed) {
            (void)pthread_mutex_unlock(&writer->mutex);
            result = write_group(writer, group);
            (void)pthread_mutex_lock(&writer->mutex);
            writer->failed = result < 0;
        }
        answer_group(group, result);
    }
}

int writer_new(rocksdb_t *db, int mark_fd, struct writer **ret_writer)
{
    struct writer *writer = calloc(1, sizeof(*writer));

    if (!writer)
        return -ENOMEM;
    writer->db = db;
    writer->mark_fd = mark_fd;
    writer->tail = &writer->head;
    (void)pthread_mutex_init(&writer->mutex, NULL);
    (void)pthread_cond_init(&writer->work, NULL);
    (void)pthread_cond_init(&writer->room, NULL);
    int result = -pthread_create(&writer->thread, NULL, writer_main, writer);

    if (result < 0) {
        free(writer);
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
    (void)pthread_cond_destroy(&writer->room);
    (void)pthread_cond_destroy(&writer->work);
    (void)pthread_mutex_destroy(&writer->mutex);
    free(writer);
}

int writer_commit(struct writer *writer, const struct store_batch *batch, bool sync)
{
    struct pending pending = {.batch = batch, .sync = sync};

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
