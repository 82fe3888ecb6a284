/* What is told of buckets: that a part of one is spent, and that it is empty. */
#include "server/meter/meter_private.h"

#include <stdio.h>
#include <string.h>

#include "server/audit/audit.h"
#include "server/store/record.h"
#include "server/util/cleanup.h"

/* One that has something to tell. */
struct telling {
    char bucket_id[ID_SIZE];
    char project_id[ID_SIZE];
    char name[BUCKET_NAME_SIZE];
    Crownest__Records__BucketNote before;
    Crownest__Records__BucketNote note;
};

static bool find_one(struct meter *meter, struct telling *ret_telling)
{
    struct bucket *bucket;
    struct bucket *next;

    lock_scope(&meter->mutex);
    HASH_ITER(hh, meter->buckets, bucket, next)
    {
        if (bucket->to_tell.percent == bucket->told.percent &&
            bucket->to_tell.empty == bucket->told.empty)
            continue;
        memcpy(ret_telling->bucket_id, bucket->bucket_id, sizeof(ret_telling->bucket_id));
        (void)snprintf(ret_telling->project_id, sizeof(ret_telling->project_id), "%s",
                       bucket->record->bucket->project_id);
        (void)snprintf(ret_telling->name, sizeof(ret_telling->name), "%s",
                       bucket->record->bucket->name);
        ret_telling->before = bucket->told;
        ret_telling->note = bucket->to_tell;
        return true;
    }
    return false;
}

static void add_entry(struct store_batch *batch, const struct telling *telling, const char *action,
                      const char *detail)
{
    struct audit_entry entry = {.action = action,
                                .resource_id = telling->bucket_id,
                                .project_id = telling->project_id,
                                .detail = detail};

    audit_add(batch, &entry);
}

static int write_one(struct meter *meter, const struct telling *telling)
{
    struct store_batch *batch = store_batch_new();
    struct schema_key key = schema_key("bn", telling->project_id, telling->bucket_id, NULL);
    char part[96];

    (void)snprintf(part, sizeof(part), "%s: %u %% of its cap are spent", telling->name,
                   (unsigned)telling->note.percent);
    if (telling->note.percent > telling->before.percent)
        add_entry(batch, telling, "bucket.warn", part);
    if (telling->note.empty && !telling->before.empty)
        add_entry(batch, telling, "bucket.empty", telling->name);
    record_put(batch, &key, &telling->note.base);
    return store_commit(meter->store, batch, STORE_SYNCED);
}

static void mark_told(struct meter *meter, const struct telling *telling)
{
    struct bucket *bucket;

    lock_scope(&meter->mutex);
    HASH_FIND_STR(meter->buckets, telling->bucket_id, bucket);
    /* It may have been deleted, or filled again, meanwhile. */
    if (bucket && bucket->told.period_start_us == telling->note.period_start_us)
        bucket->told = telling->note;
}

void bucket_tell(struct meter *meter)
{
    struct telling telling;

    while (find_one(meter, &telling)) {
        if (write_one(meter, &telling) < 0)
            return;
        mark_told(meter, &telling);
    }
}
