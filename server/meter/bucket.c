#include "server/meter/bucket.h"

#include <stdlib.h>
#include <string.h>

#include "server/meter/meter_private.h"
#include "server/store/record.h"
#include "server/util/cleanup.h"
#include "server/util/clock.h"
#include "server/util/limits.h"
#include "server/util/prototime.h"

#define NAME_MAX_SIZE (BUCKET_NAME_SIZE - 1)
#define WARNINGS_MAX 10
#define SECOND_US 1000000
#define LEFT_MAX_US (100ULL * 365 * 86400 * SECOND_US) /* beyond it is not said */

static struct schema_key record_key(const Crownest__V1__Bucket *about)
{
    return schema_key("b", about->project_id, about->bucket_id, NULL);
}

/* Checks */

static struct status check_name(const struct budget *budget, const char *name)
{
    size_t size = strlen(name);

    if (size == 0 || size > NAME_MAX_SIZE || name[0] < 'a' || name[0] > 'z' ||
        strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != size)
        return status_invalid("name", "BUCKET_NAME_INVALID",
                              "a bucket's name is [a-z][a-z0-9-]*, at most %d characters",
                              NAME_MAX_SIZE);
    if (budget && budget->count >= LIMIT_BUCKETS_PER_PROJECT)
        return status_error(STATUS_RESOURCE_EXHAUSTED, "BUCKET_LIMIT",
                            "a project has at most %d buckets; delete one first",
                            LIMIT_BUCKETS_PER_PROJECT);
    for (const struct bucket *b = budget ? budget->first : NULL; b; b = b->next) {
        if (strcmp(b->record->bucket->name, name) == 0)
            return status_at(status_error(STATUS_ALREADY_EXISTS, "BUCKET_EXISTS",
                                          "the project has a bucket named %s", name),
                             "name");
    }
    return STATUS_OK_VALUE;
}

static struct status check_cap(int64_t cap)
{
    if (cap < 1 || cap > LIMIT_BUCKET_CAP)
        return status_invalid("cap_unit_seconds", "BUCKET_CAP_INVALID",
                              "a cap is from 1 to %lld compute unit seconds", LIMIT_BUCKET_CAP);
    return STATUS_OK_VALUE;
}

static struct status check_warnings(const uint32_t *percents, size_t count)
{
    bool valid = count <= WARNINGS_MAX;

    for (size_t i = 0; valid && i < count; i++) {
        valid = percents[i] >= 1 && percents[i] <= 99;
        for (size_t j = 0; valid && j < i; j++)
            valid = percents[i] != percents[j];
    }
    if (!valid)
        return status_invalid("warn_at_percent", "BUCKET_WARNING_INVALID",
                              "at most %d different parts of the cap, from 1 to 99 percent",
                              WARNINGS_MAX);
    return STATUS_OK_VALUE;
}

static struct status check_action(Crownest__V1__BucketAction action)
{
    if (action > CROWNEST__V1__BUCKET_ACTION__BUCKET_ACTION_PAUSE)
        return status_invalid("on_empty", "BUCKET_ACTION_INVALID",
                              "sandboxes end, or are paused, when a bucket is empty");
    return STATUS_OK_VALUE;
}

/* A key of the project, or of all. */
static struct status check_key(struct meter *meter, const char *project_id, const char *key_id,
                               struct arena *arena)
{
    struct schema_key key = schema_key("k", key_id, NULL, NULL);
    Crownest__Records__KeyRecord *record;

    if (!key_id[0])
        return STATUS_OK_VALUE;
    if (!id_valid("key_", key_id) ||
        record_get(meter->store, &key, &crownest__records__key_record__descriptor, arena, &record) <
            0 ||
        (record->key->project_id[0] && strcmp(record->key->project_id, project_id) != 0))
        return status_at(
            status_error(STATUS_NOT_FOUND, "KEY_NOT_FOUND", "no key with this id in this project"),
            "key_id");
    return STATUS_OK_VALUE;
}

/* With the mutex held. */
static struct status check_sandbox(struct meter *meter, const char *project_id,
                                   const char *sandbox_id)
{
    struct metered *metered = NULL;

    if (!sandbox_id[0])
        return STATUS_OK_VALUE;
    HASH_FIND_STR(meter->living, sandbox_id, metered);
    if (!metered || strcmp(metered->project_id, project_id) != 0)
        return status_at(status_error(STATUS_NOT_FOUND, "SANDBOX_NOT_FOUND",
                                      "no living sandbox with this id in this project"),
                         "sandbox_id");
    return STATUS_OK_VALUE;
}

static struct status check_request(struct meter *meter, const char *project_id,
                                   const Crownest__V1__CreateBucketRequest *request,
                                   struct arena *arena)
{
    struct budget *budget;
    struct status status = check_cap(request->cap_unit_seconds);

    if (status_is_ok(&status) &&
        (request->period == CROWNEST__V1__BUCKET_PERIOD__BUCKET_PERIOD_UNSPECIFIED ||
         request->period > CROWNEST__V1__BUCKET_PERIOD__BUCKET_PERIOD_TOTAL))
        status = status_invalid("period", "BUCKET_PERIOD_INVALID",
                                "a cap lasts for a day, a month, or in total");
    if (status_is_ok(&status))
        status = check_action(request->on_empty);
    if (status_is_ok(&status))
        status = check_warnings(request->warn_at_percent, request->n_warn_at_percent);
    if (status_is_ok(&status) && request->key_id[0] && request->sandbox_id[0])
        status = status_invalid("sandbox_id", "BUCKET_SCOPE_INVALID",
                                "a bucket is for a key or for a sandbox, not for both");
    if (status_is_ok(&status))
        status = check_key(meter, project_id, request->key_id, arena);
    if (!status_is_ok(&status))
        return status;
    lock_scope(&meter->mutex);
    HASH_FIND_STR(meter->budgets, project_id, budget);
    status = check_name(budget, request->name);
    return status_is_ok(&status) ? check_sandbox(meter, project_id, request->sandbox_id) : status;
}

/* Records */

static int ascending(const void *a, const void *b)
{
    return (int)*(const uint32_t *)a - (int)*(const uint32_t *)b;
}

static void set_warnings(Crownest__V1__Bucket *about, const uint32_t *percents, size_t count,
                         struct arena *arena)
{
    about->warn_at_percent = arena_alloc(arena, (count + 1) * sizeof(*percents));
    memcpy(about->warn_at_percent, percents, count * sizeof(*percents));
    about->n_warn_at_percent = count;
    qsort(about->warn_at_percent, count, sizeof(*percents), ascending);
}

static void fill(const struct meter *meter, const char *project_id,
                 const Crownest__V1__CreateBucketRequest *request, struct arena *arena,
                 Crownest__Records__BucketRecord *record)
{
    static const uint32_t warnings[] = {50, 80, 95};
    Crownest__V1__Bucket *about = arena_alloc(arena, sizeof(*about));
    char id[ID_SIZE];

    id_make("bkt_", id);
    crownest__records__bucket_record__init(record);
    crownest__v1__bucket__init(about);
    record->bucket = about;
    record->boot_id = arena_strdup(arena, meter->boot_id);
    record->create_boot_us = clock_boot_us();
    about->bucket_id = arena_strdup(arena, id);
    about->project_id = arena_strdup(arena, project_id);
    about->name = request->name;
    about->key_id = request->key_id;
    about->sandbox_id = request->sandbox_id;
    about->period = request->period;
    about->cap_unit_seconds = request->cap_unit_seconds;
    about->on_empty =
        request->on_empty ? request->on_empty : CROWNEST__V1__BUCKET_ACTION__BUCKET_ACTION_END;
    about->create_time = prototime_from_us(arena, clock_wall_us());
    if (request->n_warn_at_percent > 0)
        set_warnings(about, request->warn_at_percent, request->n_warn_at_percent, arena);
    else
        set_warnings(about, warnings, sizeof(warnings) / sizeof(warnings[0]), arena);
}

Crownest__Records__BucketRecord *bucket_copy(const Crownest__Records__BucketRecord *record,
                                             ProtobufCAllocator *allocator)
{
    size_t size = crownest__records__bucket_record__get_packed_size(record);
    cleanup_free uint8_t *packed = malloc(size + 1);

    if (!packed)
        abort();
    (void)crownest__records__bucket_record__pack(record, packed);
    Crownest__Records__BucketRecord *made =
        crownest__records__bucket_record__unpack(allocator, size, packed);

    if (!made)
        abort();
    return made;
}

/* As it is, or would be with another record, with what is spent of it; with the mutex held. */
static Crownest__V1__Bucket *view(struct meter *meter, const struct bucket *bucket,
                                  Crownest__Records__BucketRecord *record, struct arena *arena)
{
    Crownest__V1__Bucket *about = bucket_copy(record, arena_allocator(arena))->bucket;
    struct bucket probe = *bucket;
    struct budget alone = {.first = &probe};
    uint64_t wall_us = clock_wall_us();
    amount_units cap;

    probe.record = record;
    probe.next = NULL;
    (void)snprintf(alone.project_id, sizeof(alone.project_id), "%s", about->project_id);
    budget_look(meter, &alone, clock_boot_us());
    cap = budget_cap(&probe);
    about->period_start_time = prototime_from_us(arena, probe.start_us);
    if (probe.end_us != UINT64_MAX)
        about->period_end_time = prototime_from_us(arena, probe.end_us);
    about->spent_unit_usec = amount_unit_us(probe.spent);
    about->burn_millis = (uint64_t)(probe.burn / 1000);
    about->empty = probe.spent + (probe.burn + AMOUNT_PS_PER_US) * SECOND_US > cap;
    if (probe.burn > 0) {
        amount_units left_us = probe.spent < cap ? (cap - probe.spent) / probe.burn : 0;

        if (left_us < probe.end_us - wall_us && left_us < LEFT_MAX_US)
            about->empty_time = prototime_from_us(arena, wall_us + (uint64_t)left_us);
    }
    return about;
}

static struct status not_found(void)
{
    return status_at(status_error(STATUS_NOT_FOUND, "BUCKET_NOT_FOUND",
                                  "no bucket with this id in this project"),
                     "bucket_id");
}

/* With the mutex held; NULL for one of another project, too. */
static struct bucket *find(struct meter *meter, const char *project_id, const char *bucket_id)
{
    struct bucket *bucket;

    HASH_FIND_STR(meter->buckets, bucket_id, bucket);
    /* That of a plan is not there to be changed. */
    return bucket && id_valid("bkt_", bucket_id) &&
                   strcmp(bucket->record->bucket->project_id, project_id) == 0
               ? bucket
               : NULL;
}

/* One that is about to be: nothing is spent of it. */
static Crownest__V1__Bucket *preview(struct meter *meter, Crownest__Records__BucketRecord *record,
                                     struct arena *arena)
{
    struct bucket bucket = {.record = record};

    lock_scope(&meter->mutex);
    budget_begin_period(meter, &bucket, clock_wall_us(), clock_boot_us());
    return view(meter, &bucket, record, arena);
}

static void add_entry(struct store_batch *batch, const char *action,
                      const struct bucket_commit *commit, const Crownest__V1__Bucket *about)
{
    struct audit_entry entry = {.actor = commit->by,
                                .action = action,
                                .resource_id = about->bucket_id,
                                .project_id = about->project_id,
                                .sandbox_id = about->sandbox_id};

    audit_add(batch, &entry);
    commit->add(commit->arg, batch, about);
}

/* What operators do */

struct status bucket_create(struct meter *meter, const char *project_id,
                            const Crownest__V1__CreateBucketRequest *request,
                            const struct bucket_commit *commit, struct arena *arena,
                            Crownest__V1__Bucket **ret_bucket)
{
    lock_scope(&meter->changing);
    struct status status = check_request(meter, project_id, request, arena);
    Crownest__Records__BucketRecord record;

    if (!status_is_ok(&status))
        return status;
    fill(meter, project_id, request, arena, &record);
    struct schema_key key = record_key(record.bucket);
    struct store_batch *batch = store_batch_new();
    Crownest__V1__Bucket *about = preview(meter, &record, arena);

    record_put(batch, &key, &record.base);
    add_entry(batch, "bucket.create", commit, about);
    status = record_commit(meter->store, batch);
    if (!status_is_ok(&status))
        return status;
    (void)pthread_mutex_lock(&meter->mutex);
    (void)bucket_insert(meter, bucket_copy(&record, NULL));
    budget_kick(meter);
    (void)pthread_mutex_unlock(&meter->mutex);
    *ret_bucket = about;
    return status;
}

struct status bucket_get(struct meter *meter, const char *project_id, const char *bucket_id,
                         struct arena *arena, Crownest__V1__Bucket **ret_bucket)
{
    lock_scope(&meter->mutex);
    struct bucket *bucket = find(meter, project_id, bucket_id);

    if (!bucket)
        return not_found();
    *ret_bucket = view(meter, bucket, bucket->record, arena);
    return STATUS_OK_VALUE;
}

static struct status check_update(const Crownest__V1__UpdateBucketRequest *request)
{
    struct status status =
        request->cap_unit_seconds ? check_cap(request->cap_unit_seconds) : STATUS_OK_VALUE;

    if (status_is_ok(&status))
        status = check_action(request->on_empty);
    if (status_is_ok(&status))
        status = check_warnings(request->warn_at_percent, request->n_warn_at_percent);
    return status;
}

/* The record as it is to be, in the arena, and how it will look; NULL when there is none. */
static Crownest__Records__BucketRecord *changed(struct meter *meter, const char *project_id,
                                                const Crownest__V1__UpdateBucketRequest *request,
                                                struct arena *arena,
                                                Crownest__V1__Bucket **ret_bucket)
{
    lock_scope(&meter->mutex);
    struct bucket *bucket = find(meter, project_id, request->bucket_id);

    if (!bucket)
        return NULL;
    Crownest__Records__BucketRecord *record = bucket_copy(bucket->record, arena_allocator(arena));

    if (request->cap_unit_seconds)
        record->bucket->cap_unit_seconds = request->cap_unit_seconds;
    if (request->on_empty)
        record->bucket->on_empty = request->on_empty;
    if (request->n_warn_at_percent > 0)
        set_warnings(record->bucket, request->warn_at_percent, request->n_warn_at_percent, arena);
    *ret_bucket = view(meter, bucket, record, arena);
    return record;
}

/* What is no longer so may be told again. */
static void forget_told(struct bucket *bucket)
{
    amount_units cap = budget_cap(bucket);

    if (bucket->spent * 100 < cap * bucket->told.percent)
        bucket->told.percent = bucket->to_tell.percent = (uint32_t)(bucket->spent * 100 / cap);
    if (bucket->spent < cap)
        bucket->told.empty = bucket->to_tell.empty = false;
}

struct status bucket_update(struct meter *meter, const char *project_id,
                            const Crownest__V1__UpdateBucketRequest *request,
                            const struct bucket_commit *commit, struct arena *arena,
                            Crownest__V1__Bucket **ret_bucket)
{
    lock_scope(&meter->changing);
    struct status status = check_update(request);
    Crownest__V1__Bucket *about = NULL;
    Crownest__Records__BucketRecord *record =
        status_is_ok(&status) ? changed(meter, project_id, request, arena, &about) : NULL;

    if (!record)
        return status_is_ok(&status) ? not_found() : status;
    struct store_batch *batch = store_batch_new();
    struct schema_key key = record_key(record->bucket);

    record_put(batch, &key, &record->base);
    add_entry(batch, "bucket.update", commit, about);
    status = record_commit(meter->store, batch);
    if (!status_is_ok(&status))
        return status;
    (void)pthread_mutex_lock(&meter->mutex);
    struct bucket *bucket = find(meter, project_id, request->bucket_id);

    crownest__records__bucket_record__free_unpacked(bucket->record, NULL);
    bucket->record = bucket_copy(record, NULL);
    forget_told(bucket);
    budget_kick(meter);
    (void)pthread_mutex_unlock(&meter->mutex);
    *ret_bucket = about;
    return status;
}

struct status bucket_delete(struct meter *meter, const char *project_id, const char *bucket_id,
                            const struct bucket_commit *commit, struct arena *arena,
                            Crownest__V1__Bucket **ret_bucket)
{
    lock_scope(&meter->changing);
    Crownest__V1__Bucket *about;
    struct status status = bucket_get(meter, project_id, bucket_id, arena, &about);

    if (!status_is_ok(&status))
        return status;
    struct store_batch *batch = store_batch_new();
    struct schema_key key = record_key(about);
    struct schema_key note = schema_key("bn", project_id, bucket_id, NULL);

    record_delete(batch, &key);
    record_delete(batch, &note);
    add_entry(batch, "bucket.delete", commit, about);
    status = record_commit(meter->store, batch);
    if (!status_is_ok(&status))
        return status;
    (void)pthread_mutex_lock(&meter->mutex);
    bucket_remove(meter, find(meter, project_id, bucket_id));
    (void)pthread_mutex_unlock(&meter->mutex);
    *ret_bucket = about;
    return status;
}
