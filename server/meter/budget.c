/*
 * What is left of buckets, and when they are empty. What is spent follows from the timelines of
 * those that live, looked at anew each time, and one sum of those that have ended.
 */
#include "server/meter/meter_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/util/clock.h"
#include "server/util/cond.h"

#define LOOK_MS 1000 /* at least so often */
#define US_PER_MS 1000
#define TOLD_AGAIN_US 500000
#define SECOND_US 1000000

bool budget_pays(const struct bucket *bucket, const struct metered *metered)
{
    const Crownest__V1__Bucket *about = bucket->record->bucket;

    return (!about->key_id[0] || strcmp(about->key_id, metered->part->key_id) == 0) &&
           (!about->sandbox_id[0] || strcmp(about->sandbox_id, metered->sandbox_id) == 0);
}

amount_units budget_cap(const struct bucket *bucket)
{
    return (amount_units)bucket->record->bucket->cap_unit_seconds * AMOUNT_PS_PER_S;
}

/* What a sandbox has spent of a bucket up to a moment. */
static amount_units spent_by(const struct bucket *bucket, const struct metered *metered,
                             uint64_t boot_us)
{
    const Crownest__Records__Meter *part = metered->part;
    int64_t from_us = bucket->start_boot_us - (int64_t)part->anchor_boot_us;
    int64_t to_us = (int64_t)boot_us - (int64_t)part->anchor_boot_us;
    struct timeline_sum sum = timeline_between(part, from_us, to_us);

    return amount_used(part->rate_millis, pricing_find(part->pricing_version), sum.running_us,
                       sum.paused_us);
}

/* One that is being created burns, too: it was let in. */
static amount_units burn_of(const struct metered *metered)
{
    const Crownest__Records__Meter *part = metered->part;
    Crownest__Records__MeterState state = timeline_state(part);

    if (state == CROWNEST__RECORDS__METER_STATE__METER_STATE_ENDED)
        return 0;
    return amount_burn(part->rate_millis, pricing_find(part->pricing_version),
                       state == CROWNEST__RECORDS__METER_STATE__METER_STATE_PAUSED);
}

void budget_look(struct meter *meter, struct budget *budget, uint64_t boot_us)
{
    struct metered *metered;
    struct metered *next;

    for (struct bucket *bucket = budget->first; bucket; bucket = bucket->next) {
        bucket->spent = bucket->ended;
        bucket->burn = 0;
    }
    HASH_ITER(hh, meter->living, metered, next)
    {
        if (strcmp(metered->project_id, budget->project_id) != 0)
            continue;
        for (struct bucket *bucket = budget->first; bucket; bucket = bucket->next) {
            if (!budget_pays(bucket, metered))
                continue;
            bucket->spent += spent_by(bucket, metered, boot_us);
            bucket->burn += burn_of(metered);
        }
    }
}

static struct status is_empty(const struct bucket *bucket)
{
    const Crownest__V1__Bucket *about = bucket->record->bucket;
    struct status_quota quota = {.metric = "compute_unit_seconds",
                                 .limit = (uint64_t)about->cap_unit_seconds,
                                 .used = (uint64_t)(bucket->spent / AMOUNT_PS_PER_S)};

    (void)snprintf(quota.subject, sizeof(quota.subject), "bucket:%s", about->bucket_id);
    return status_quota("BUDGET_EMPTY", &quota,
                        "the bucket %s cannot pay for it: %llu of %lld compute unit seconds are "
                        "spent; an operator can raise its cap",
                        about->name, (unsigned long long)quota.used,
                        (long long)about->cap_unit_seconds);
}

struct status budget_admit(struct meter *meter, const struct metered *metered, amount_units more)
{
    struct budget *budget;

    HASH_FIND_STR(meter->budgets, metered->project_id, budget);
    if (!budget)
        return STATUS_OK_VALUE;
    budget_look(meter, budget, clock_boot_us());
    for (struct bucket *bucket = budget->first; bucket; bucket = bucket->next) {
        if (budget_pays(bucket, metered) &&
            bucket->spent + (bucket->burn + more) * SECOND_US > budget_cap(bucket))
            return is_empty(bucket);
    }
    return STATUS_OK_VALUE;
}

void budget_close(struct meter *meter, const struct metered *metered)
{
    struct budget *budget;

    HASH_FIND_STR(meter->budgets, metered->project_id, budget);
    if (budget &&
        timeline_state(metered->part) == CROWNEST__RECORDS__METER_STATE__METER_STATE_ENDED) {
        for (struct bucket *bucket = budget->first; bucket; bucket = bucket->next) {
            if (budget_pays(bucket, metered))
                bucket->ended += spent_by(bucket, metered, UINT64_MAX / 2);
        }
    }
    budget_kick(meter);
}

void budget_kick(struct meter *meter)
{
    meter->kick = true;
    (void)pthread_cond_signal(&meter->kicked);
}

void budget_begin_period(const struct meter *meter, struct bucket *bucket, uint64_t wall_us,
                         uint64_t boot_us)
{
    const Crownest__V1__Bucket *about = bucket->record->bucket;
    uint64_t created_us = (uint64_t)about->create_time->seconds * SECOND_US +
                          (uint64_t)about->create_time->nanos / 1000;
    uint64_t start_us = 0;

    bucket->end_us = UINT64_MAX;
    if (about->period == CROWNEST__V1__BUCKET_PERIOD__BUCKET_PERIOD_DAY) {
        start_us = day_start(wall_us);
        bucket->end_us = start_us + DAY_US;
    } else if (about->period == CROWNEST__V1__BUCKET_PERIOD__BUCKET_PERIOD_MONTH) {
        start_us = day_month_start(wall_us);
        bucket->end_us = day_next_month(wall_us);
    }
    bucket->start_us = start_us > created_us ? start_us : created_us;
    bucket->start_boot_us = (int64_t)boot_us;
    if (wall_us > bucket->start_us)
        bucket->start_boot_us -= (int64_t)(wall_us - bucket->start_us);
    /* A step of the wall clock since then does not move its own beginning. */
    if (bucket->start_us == created_us && strcmp(bucket->record->boot_id, meter->boot_id) == 0)
        bucket->start_boot_us = (int64_t)bucket->record->create_boot_us;
    bucket->ended = 0;
    bucket->told = bucket->to_tell = (Crownest__Records__BucketNote){
        .base = bucket->told.base, .period_start_us = bucket->start_us};
}

/* One that a bucket which is empty pays for. */
struct victim {
    char project_id[ID_SIZE];
    char sandbox_id[ID_SIZE];
    char bucket_name[BUCKET_NAME_SIZE];
    bool pause;
};

struct victims {
    struct victim *list;
    size_t count;
    size_t capacity;
};

static void add_victim(struct victims *victims, const struct bucket *bucket,
                       const struct metered *metered)
{
    const Crownest__V1__Bucket *about = bucket->record->bucket;
    const struct pricing *pricing = pricing_find(metered->part->pricing_version);

    if (victims->count == victims->capacity) {
        victims->capacity = victims->capacity ? 2 * victims->capacity : 16;
        victims->list = realloc(victims->list, victims->capacity * sizeof(*victims->list));
        if (!victims->list)
            abort();
    }
    struct victim *victim = &victims->list[victims->count++];

    memcpy(victim->project_id, metered->project_id, sizeof(victim->project_id));
    memcpy(victim->sandbox_id, metered->sandbox_id, sizeof(victim->sandbox_id));
    (void)snprintf(victim->bucket_name, sizeof(victim->bucket_name), "%s", about->name);
    victim->pause = about->on_empty == CROWNEST__V1__BUCKET_ACTION__BUCKET_ACTION_PAUSE &&
                    pricing->paused_millis == 0;
}

/* Those that burn and were not told just now. */
static void find_victims(struct meter *meter, const struct budget *budget,
                         const struct bucket *bucket, uint64_t boot_us, struct victims *victims)
{
    struct metered *metered;
    struct metered *next;

    HASH_ITER(hh, meter->living, metered, next)
    {
        bool told = metered->told_us && boot_us - metered->told_us < TOLD_AGAIN_US;

        if (strcmp(metered->project_id, budget->project_id) != 0 || told ||
            metered->part->n_points == 0 || burn_of(metered) == 0 || !budget_pays(bucket, metered))
            continue;
        metered->told_us = boot_us;
        add_victim(victims, bucket, metered);
    }
}

static void note_parts(struct bucket *bucket)
{
    const Crownest__V1__Bucket *about = bucket->record->bucket;
    amount_units cap = budget_cap(bucket);

    for (size_t i = 0; i < about->n_warn_at_percent; i++) {
        uint32_t percent = about->warn_at_percent[i];

        if (bucket->spent * 100 >= cap * percent && percent > bucket->to_tell.percent)
            bucket->to_tell.percent = percent;
    }
    if (bucket->spent >= cap)
        bucket->to_tell.empty = true;
}

/* When to look at it again, at the latest; it may be empty now. */
static uint64_t watch(struct meter *meter, const struct budget *budget, struct bucket *bucket,
                      uint64_t boot_us, struct victims *victims)
{
    amount_units cap = budget_cap(bucket);

    note_parts(bucket);
    if (bucket->burn == 0)
        return UINT64_MAX;
    if (bucket->spent >= cap) {
        find_victims(meter, budget, bucket, boot_us, victims);
        return boot_us + TOLD_AGAIN_US;
    }
    amount_units left_us = (cap - bucket->spent + bucket->burn - 1) / bucket->burn;

    return left_us > LOOK_MS * US_PER_MS ? UINT64_MAX : boot_us + (uint64_t)left_us;
}

/* Looks at all of them, and says when to do so again. */
static uint64_t look(struct meter *meter, struct victims *victims)
{
    uint64_t boot_us = clock_boot_us();
    uint64_t wall_us = clock_wall_us();
    uint64_t next_us = boot_us + LOOK_MS * US_PER_MS;
    struct budget *budget;
    struct budget *next;

    HASH_ITER(hh, meter->budgets, budget, next)
    {
        for (struct bucket *bucket = budget->first; bucket; bucket = bucket->next) {
            if (wall_us >= bucket->end_us)
                budget_begin_period(meter, bucket, wall_us, boot_us);
            if (bucket->end_us - wall_us < next_us - boot_us)
                next_us = boot_us + (bucket->end_us - wall_us);
        }
        budget_look(meter, budget, boot_us);
        for (struct bucket *bucket = budget->first; bucket; bucket = bucket->next) {
            uint64_t due_us = watch(meter, budget, bucket, boot_us, victims);

            next_us = due_us < next_us ? due_us : next_us;
        }
    }
    return next_us;
}

/* With the mutex held; to the millisecond behind the moment. */
static void wait_until(struct meter *meter, uint64_t until_us)
{
    uint64_t now_us = clock_boot_us();
    uint64_t left_us = until_us > now_us ? until_us - now_us : 0;
    struct timespec deadline = cond_deadline((unsigned)(left_us / US_PER_MS + 1));

    while (!meter->stopping && !meter->kick &&
           pthread_cond_timedwait(&meter->kicked, &meter->mutex, &deadline) == 0)
        ;
    meter->kick = false;
}

void *budget_thread(void *arg)
{
    struct meter *meter = arg;

    (void)pthread_mutex_lock(&meter->mutex);
    while (!meter->stopping) {
        struct victims victims = {0};
        uint64_t until_us = look(meter, &victims);

        (void)pthread_mutex_unlock(&meter->mutex);
        for (size_t i = 0; i < victims.count; i++) {
            const struct victim *victim = &victims.list[i];

            meter->hooks.empty(meter->hooks.arg, victim->project_id, victim->sandbox_id,
                               victim->bucket_name, victim->pause);
        }
        free(victims.list);
        (void)pthread_mutex_lock(&meter->mutex);
        wait_until(meter, until_us);
    }
    (void)pthread_mutex_unlock(&meter->mutex);
    return NULL;
}
