/* What a plan pays for in a month: a bucket that stands in no record, since the plan does. */
#include "server/meter/meter_private.h"

#include <stdlib.h>
#include <string.h>

#include "server/util/cleanup.h"

/* Its place among the buckets: no bucket's id looks like a project's. */
static struct bucket *find(struct meter *meter, const char *project_id)
{
    struct bucket *bucket;

    HASH_FIND_STR(meter->buckets, project_id, bucket);
    return bucket;
}

static Crownest__Records__BucketRecord *make_record(const char *project_id, const char *plan,
                                                    uint64_t cap)
{
    Crownest__Records__BucketRecord record = CROWNEST__RECORDS__BUCKET_RECORD__INIT;
    Crownest__V1__Bucket about = CROWNEST__V1__BUCKET__INIT;
    Google__Protobuf__Timestamp never = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    uint32_t warnings[] = {80};

    record.bucket = &about;
    about.bucket_id = about.project_id = (char *)(uintptr_t)project_id;
    about.name = (char *)(uintptr_t)plan;
    about.period = CROWNEST__V1__BUCKET_PERIOD__BUCKET_PERIOD_MONTH;
    about.on_empty = CROWNEST__V1__BUCKET_ACTION__BUCKET_ACTION_END;
    about.cap_unit_seconds = (int64_t)cap;
    about.create_time = &never;
    about.warn_at_percent = warnings;
    about.n_warn_at_percent = 1;
    return bucket_copy(&record, NULL);
}

void meter_include(struct meter *meter, const char *project_id, const char *plan,
                   uint64_t unit_seconds)
{
    lock_scope(&meter->mutex);
    struct bucket *bucket = find(meter, project_id);

    if (bucket && unit_seconds > 0) {
        if (bucket->record->bucket->cap_unit_seconds != (int64_t)unit_seconds) {
            bucket->record->bucket->cap_unit_seconds = (int64_t)unit_seconds;
            budget_kick(meter);
        }
        return;
    }
    if (bucket)
        bucket_remove(meter, bucket);
    else if (unit_seconds > 0)
        bucket_insert_summed(meter, make_record(project_id, plan, unit_seconds));
    budget_kick(meter);
}
