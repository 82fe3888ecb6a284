/* Buckets as the service finds them when it starts: what is spent of them follows from rows. */
#include "server/meter/meter_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/meter/usage_row.h"
#include "server/store/record.h"
#include "server/util/cleanup.h"
#include "server/util/clock.h"

#define ITEM_ARENA_BYTES (1U << 20)
#define DAY_DIGITS 8

struct bucket *bucket_insert(struct meter *meter, Crownest__Records__BucketRecord *record)
{
    struct bucket *bucket = calloc(1, sizeof(*bucket));
    const char *project_id = record->bucket->project_id;
    struct budget *budget;

    if (!bucket)
        abort();
    (void)snprintf(bucket->bucket_id, sizeof(bucket->bucket_id), "%s", record->bucket->bucket_id);
    bucket->record = record;
    crownest__records__bucket_note__init(&bucket->told);
    crownest__records__bucket_note__init(&bucket->to_tell);
    budget_begin_period(meter, bucket, clock_wall_us(), clock_boot_us());
    HASH_ADD_STR(meter->buckets, bucket_id, bucket);
    HASH_FIND_STR(meter->budgets, project_id, budget);
    if (!budget) {
        budget = calloc(1, sizeof(*budget));
        if (!budget)
            abort();
        (void)snprintf(budget->project_id, sizeof(budget->project_id), "%s", project_id);
        HASH_ADD_STR(meter->budgets, project_id, budget);
    }
    bucket->next = budget->first;
    budget->first = bucket;
    budget->count++;
    return bucket;
}

void bucket_remove(struct meter *meter, struct bucket *bucket)
{
    struct bucket **at;
    struct budget *budget;

    HASH_FIND_STR(meter->budgets, bucket->record->bucket->project_id, budget);
    for (at = &budget->first; *at != bucket; at = &(*at)->next)
        ;
    *at = bucket->next;
    if (--budget->count == 0) {
        HASH_DEL(meter->budgets, budget);
        free(budget);
    }
    HASH_DEL(meter->buckets, bucket);
    crownest__records__bucket_record__free_unpacked(bucket->record, NULL);
    free(bucket);
}

/* One of whose day only a part counts. */
struct part_day {
    struct bucket *bucket;
    char sandbox_id[ID_SIZE];
};

struct summing {
    struct meter *meter;
    struct budget *budget;
    struct part_day *part_days;
    size_t count;
};

static void note_part_day(struct summing *summing, struct bucket *bucket, const char *sandbox_id)
{
    summing->part_days =
        realloc(summing->part_days, (summing->count + 1) * sizeof(*summing->part_days));
    if (!summing->part_days)
        abort();
    struct part_day *day = &summing->part_days[summing->count++];

    day->bucket = bucket;
    (void)snprintf(day->sandbox_id, sizeof(day->sandbox_id), "%s", sandbox_id);
}

static bool row_counts(const struct bucket *bucket, uint32_t day,
                       const Crownest__Records__UsageRow *row, const char *sandbox_id)
{
    const Crownest__V1__Bucket *about = bucket->record->bucket;

    return day >= day_number(bucket->start_us) &&
           (!about->key_id[0] || strcmp(about->key_id, row->key_id) == 0) &&
           (!about->sandbox_id[0] || strcmp(about->sandbox_id, sandbox_id) == 0);
}

static void add_row(struct summing *summing, uint32_t day, const char *sandbox_id,
                    const Crownest__Records__UsageRow *row)
{
    amount_units used = amount_used(row->rate_millis, pricing_find(row->pricing_version),
                                    row->running_us, row->paused_us);

    for (struct bucket *bucket = summing->budget->first; bucket; bucket = bucket->next) {
        if (!row_counts(bucket, day, row, sandbox_id))
            continue;
        if (day == day_number(bucket->start_us) && bucket->start_us != day_start(bucket->start_us))
            note_part_day(summing, bucket, sandbox_id);
        else
            bucket->ended += used;
    }
}

/* The key ends in `<yyyymmdd>/<sandbox>`. */
static bool visit_row(void *arg, struct bytes key, struct bytes value)
{
    struct summing *summing = arg;
    struct schema_key text = {0};
    struct metered *living;

    if (key.size >= sizeof(text.text))
        return true;
    memcpy(text.text, key.data, key.size);
    char *sandbox_id = strrchr(text.text, '/');

    if (!sandbox_id || sandbox_id - text.text < DAY_DIGITS)
        return true;
    uint32_t day = (uint32_t)strtoul(sandbox_id++ - DAY_DIGITS, NULL, 10);

    HASH_FIND_STR(summing->meter->living, sandbox_id, living);
    if (living)
        return true;
    Crownest__Records__UsageRow *row =
        crownest__records__usage_row__unpack(NULL, value.size, value.data);

    if (!row)
        return true;
    add_row(summing, day, sandbox_id, row);
    crownest__records__usage_row__free_unpacked(row, NULL);
    return true;
}

/* What one spent of the first day behind the bucket's beginning. */
static void add_part_day(const struct meter *meter, const struct part_day *day)
{
    struct bucket *bucket = day->bucket;
    struct arena *arena = arena_new(ITEM_ARENA_BYTES);
    struct schema_key key =
        schema_key("s", bucket->record->bucket->project_id, day->sandbox_id, NULL);
    Crownest__Records__SandboxRecord *record;
    int r = record_get(meter->store, &key, &crownest__records__sandbox_record__descriptor, arena,
                       &record);

    if (r == 0 && record->meter) {
        const Crownest__Records__Meter *part = record->meter;
        int64_t from_us = (int64_t)(bucket->start_us - part->anchor_wall_us);
        int64_t to_us = (int64_t)(day_start(bucket->start_us) + DAY_US - part->anchor_wall_us);
        struct timeline_sum sum = timeline_between(part, from_us, to_us);

        bucket->ended += amount_used(part->rate_millis, pricing_find(part->pricing_version),
                                     sum.running_us, sum.paused_us);
    }
    arena_free(arena);
}

/*
 * All rows of a project since the first of its buckets began, once. With the mutex held, which a
 * scan may: whoever commits does not wait for it. One that ends meanwhile is among those that live
 * until the mutex is free, and is added up then.
 */
static int sum_up(struct meter *meter, struct budget *budget)
{
    struct summing summing = {.meter = meter, .budget = budget};
    uint64_t start_us = UINT64_MAX;

    for (struct bucket *bucket = budget->first; bucket; bucket = bucket->next)
        start_us = bucket->start_us < start_us ? bucket->start_us : start_us;
    struct schema_key rows = schema_key("ud", budget->project_id, "", NULL);
    struct schema_key start = usage_row_key(budget->project_id, day_number(start_us), "");
    int r = store_scan(meter->store, schema_bytes(&rows), schema_bytes(&start), STORE_ASCENDING,
                       visit_row, &summing);

    for (size_t i = 0; i < summing.count; i++)
        add_part_day(meter, &summing.part_days[i]);
    free(summing.part_days);
    return r;
}

/* What was told in this period is not told again. */
static void read_note(struct meter *meter, struct bucket *bucket)
{
    struct arena *arena = arena_new(ITEM_ARENA_BYTES);
    struct schema_key key =
        schema_key("bn", bucket->record->bucket->project_id, bucket->bucket_id, NULL);
    Crownest__Records__BucketNote *note;

    if (record_get(meter->store, &key, &crownest__records__bucket_note__descriptor, arena, &note) ==
            0 &&
        note->period_start_us == bucket->start_us) {
        bucket->told.percent = bucket->to_tell.percent = note->percent;
        bucket->told.empty = bucket->to_tell.empty = note->empty;
    }
    arena_free(arena);
}

void bucket_insert_summed(struct meter *meter, Crownest__Records__BucketRecord *record)
{
    struct bucket *bucket = bucket_insert(meter, record);
    struct bucket *rest = bucket->next;
    struct budget alone = {.first = bucket};

    (void)snprintf(alone.project_id, sizeof(alone.project_id), "%s", record->bucket->project_id);
    bucket->next = NULL;
    /* What cannot be read now is not counted: in doubt it is for the user. */
    (void)sum_up(meter, &alone);
    bucket->next = rest;
    read_note(meter, bucket);
}

struct found {
    Crownest__Records__BucketRecord **records;
    size_t count;
};

static bool visit_bucket(void *arg, struct bytes key, struct bytes value)
{
    struct found *found = arg;
    Crownest__Records__BucketRecord *record =
        crownest__records__bucket_record__unpack(NULL, value.size, value.data);

    (void)key;
    if (record && record->bucket && record->bucket->create_time) {
        found->records = realloc(found->records, (found->count + 1) * sizeof(*found->records));
        if (!found->records)
            abort();
        found->records[found->count++] = record;
    } else if (record) {
        crownest__records__bucket_record__free_unpacked(record, NULL);
    }
    return true;
}

int bucket_load_all(struct meter *meter)
{
    struct found found = {0};
    struct budget *budget;
    struct budget *next;
    int r = store_scan(meter->store, bytes_of_string("b/"), bytes_of(NULL, 0), STORE_ASCENDING,
                       visit_bucket, &found);

    lock_scope(&meter->mutex);
    for (size_t i = 0; i < found.count; i++)
        read_note(meter, bucket_insert(meter, found.records[i]));
    free(found.records);
    HASH_ITER(hh, meter->budgets, budget, next)
    {
        if (sum_up(meter, budget) < 0)
            r = -EIO;
    }
    return r;
}
