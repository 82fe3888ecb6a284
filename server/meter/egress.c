/* What previews have sent, between two starts of the service: nothing else remembers it. */
#include "server/meter/meter_private.h"

#include <stdlib.h>
#include <string.h>

#include "server/store/record.h"
#include "server/util/cleanup.h"

#define EGRESS_ARENA_BYTES (1U << 20)

static struct schema_key key_of(const char *project_id, const char *sandbox_id)
{
    return schema_key("me", project_id, sandbox_id, NULL);
}

void egress_delete(struct store_batch *batch, const char *project_id, const char *sandbox_id)
{
    struct schema_key key = key_of(project_id, sandbox_id);

    record_delete(batch, &key);
}

void egress_read(struct store *store, const char *project_id, const char *sandbox_id,
                 struct metered_day **days, size_t *count)
{
    struct arena *arena = arena_new(EGRESS_ARENA_BYTES);
    struct schema_key key = key_of(project_id, sandbox_id);
    Crownest__Records__EgressRecord *record;

    if (record_get(store, &key, &crownest__records__egress_record__descriptor, arena, &record) ==
        0) {
        for (size_t i = 0; i < record->n_bytes; i++) {
            struct meter_bytes bytes = {.egress = record->bytes[i]->egress_bytes};

            bytes_add(days, count, record->bytes[i]->day, &bytes);
        }
    }
    arena_free(arena);
}

static void put(struct store_batch *batch, const struct metered *metered, struct arena *arena)
{
    Crownest__Records__EgressRecord record = CROWNEST__RECORDS__EGRESS_RECORD__INIT;
    struct schema_key key = key_of(metered->project_id, metered->sandbox_id);

    record.bytes = arena_alloc(arena, (metered->day_count + 1) * sizeof(*record.bytes));
    for (size_t i = 0; i < metered->day_count; i++) {
        Crownest__Records__MeterBytes *bytes = arena_alloc(arena, sizeof(*bytes));

        crownest__records__meter_bytes__init(bytes);
        bytes->day = metered->days[i].day;
        bytes->egress_bytes = metered->days[i].bytes.egress;
        record.bytes[record.n_bytes++] = bytes;
    }
    record_put(batch, &key, &record.base);
}

/* One whose number was put into a batch. */
struct written {
    char project_id[ID_SIZE];
    char sandbox_id[ID_SIZE];
};

/* Adds those that have sent something since to the batch; the caller frees the list. */
static size_t put_all(struct meter *meter, struct store_batch *batch, struct written **ret_list)
{
    struct arena *arena = arena_new(EGRESS_ARENA_BYTES);
    struct metered *metered;
    struct metered *next;
    size_t count = 0;

    (void)pthread_mutex_lock(&meter->mutex);
    struct written *list = calloc(HASH_COUNT(meter->living) + 1, sizeof(*list));

    if (!list)
        abort();
    HASH_ITER(hh, meter->living, metered, next)
    {
        if (!metered->sends)
            continue;
        metered->sends = false;
        put(batch, metered, arena);
        memcpy(list[count].project_id, metered->project_id, sizeof(list->project_id));
        memcpy(list[count++].sandbox_id, metered->sandbox_id, sizeof(list->sandbox_id));
    }
    (void)pthread_mutex_unlock(&meter->mutex);
    arena_free(arena);
    *ret_list = list;
    return count;
}

/* Those that ended meanwhile have it on their tombstones, and nobody would delete it later. */
static void delete_ended(struct meter *meter, const struct written *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct metered *metered;

        (void)pthread_mutex_lock(&meter->mutex);
        HASH_FIND_STR(meter->living, list[i].sandbox_id, metered);
        (void)pthread_mutex_unlock(&meter->mutex);
        if (metered)
            continue;
        struct store_batch *batch = store_batch_new();

        egress_delete(batch, list[i].project_id, list[i].sandbox_id);
        (void)store_commit(meter->store, batch, STORE_UNSYNCED);
    }
}

void egress_write(struct meter *meter)
{
    struct store_batch *batch = store_batch_new();
    struct written *list;
    size_t count = put_all(meter, batch, &list);

    if (count == 0) {
        store_batch_free(batch);
    } else {
        (void)store_commit(meter->store, batch, STORE_UNSYNCED);
        delete_ended(meter, list, count);
    }
    free(list);
}
