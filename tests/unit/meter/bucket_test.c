/* What is left of buckets when the day is over, and when somebody sets the clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/meter/bucket.h"
#include "server/meter/timeline.h"
#include "server/util/clock.h"
#include "tests/unit/meter/lives.h"
#include "tests/unit/stores.h"

#define DAY CROWNEST__V1__BUCKET_PERIOD__BUCKET_PERIOD_DAY
#define TOTAL CROWNEST__V1__BUCKET_PERIOD__BUCKET_PERIOD_TOTAL
#define SECOND_US 1000000ULL

/* The hands of the clock: a day forth, at the reading that `jump` makes come. */
#define STEPS "clock.wall=jump:86400000@1000"

static struct lives lives;

struct told {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    unsigned count;
    char sandbox_id[ID_SIZE];
};

static struct told told = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void on_empty(void *arg, const char *project_id, const char *sandbox_id,
                     const char *bucket_name, bool pause)
{
    (void)arg;
    (void)project_id;
    (void)bucket_name;
    (void)pause;
    (void)pthread_mutex_lock(&told.mutex);
    told.count++;
    (void)snprintf(told.sandbox_id, sizeof(told.sandbox_id), "%s", sandbox_id);
    (void)pthread_cond_signal(&told.changed);
    (void)pthread_mutex_unlock(&told.mutex);
}

static void add_nothing(void *arg, struct store_batch *batch, const Crownest__V1__Bucket *bucket)
{
    (void)arg;
    (void)batch;
    (void)bucket;
}

static Crownest__V1__Bucket *make(Crownest__V1__BucketPeriod period, int64_t cap)
{
    Crownest__V1__CreateBucketRequest request = CROWNEST__V1__CREATE_BUCKET_REQUEST__INIT;
    struct bucket_commit commit = {.add = add_nothing};
    Crownest__V1__Bucket *bucket = NULL;

    request.name = (char *)(uintptr_t) "some";
    request.period = period;
    request.cap_unit_seconds = cap;
    struct status status =
        bucket_create(lives.meter, LIVES_PROJECT, &request, &commit, lives.arena, &bucket);

    assert_true(status_is_ok(&status));
    return bucket;
}

static Crownest__V1__Bucket *get(const Crownest__V1__Bucket *bucket)
{
    Crownest__V1__Bucket *now = NULL;
    struct status status =
        bucket_get(lives.meter, LIVES_PROJECT, bucket->bucket_id, lives.arena, &now);

    assert_true(status_is_ok(&status));
    return now;
}

/* When its period began; leaves nothing in the arena. */
static int64_t begun(const Crownest__V1__Bucket *bucket)
{
    struct arena *arena = arena_new(1 << 16);
    Crownest__V1__Bucket *now = NULL;
    struct status status = bucket_get(lives.meter, LIVES_PROJECT, bucket->bucket_id, arena, &now);

    assert_true(status_is_ok(&status));
    int64_t seconds = now->period_start_time->seconds;

    arena_free(arena);
    return seconds;
}

static void start(const char *directory)
{
    struct meter_hooks hooks = {.empty = on_empty};

    lives_open(&lives, directory);
    assert_int_equal(meter_start(lives.meter, &hooks), 0);
}

/* One that has been running for so long. */
static struct metered *running(Crownest__Records__SandboxRecord *record, uint64_t for_us)
{
    uint64_t now_us = clock_boot_us();

    timeline_begin(record->meter, clock_wall_us() - for_us, now_us - for_us, "", lives.arena);
    return meter_adopt(lives.meter, record);
}

static void a_bucket_counts_from_its_creation_on(void **state)
{
    start(*state);
    struct metered *metered = running(lives_begin(&lives, 1), 3600 * SECOND_US);
    Crownest__V1__Bucket *bucket = make(TOTAL, 1000);

    assert_true(bucket->spent_unit_usec < SECOND_US);
    assert_int_equal(bucket->burn_millis, 1000);
    assert_true(get(bucket)->spent_unit_usec < 60 * SECOND_US);
    assert_non_null(get(bucket)->empty_time);
    meter_forget(metered);
    assert_int_equal(get(bucket)->burn_millis, 0);
    assert_null(get(bucket)->empty_time);
    lives_close(&lives);
}

static void what_is_empty_is_told_and_nothing_more_is_let_in(void **state)
{
    start(*state);
    Crownest__Records__SandboxRecord *record = lives_begin(&lives, 1);
    struct metered *metered = running(record, 0);
    struct metered *second;

    told.count = 0;
    (void)make(TOTAL, 1);
    struct status status = meter_admit(lives.meter, lives_begin(&lives, 2), &second);

    assert_string_equal(status.reason, "BUDGET_EMPTY");
    assert_string_equal(status.quota.metric, "compute_unit_seconds");
    (void)pthread_mutex_lock(&told.mutex);
    while (told.count == 0)
        (void)pthread_cond_wait(&told.changed, &told.mutex);
    assert_string_equal(told.sandbox_id, record->sandbox->sandbox_id);
    (void)pthread_mutex_unlock(&told.mutex);
    meter_forget(metered);
    lives_close(&lives);
}

/* The clock goes forth by a day: a new one begins, and what was spent is forgotten. */
static void a_day_begins_with_a_full_bucket(void **state)
{
    struct metered *second;

    start(*state);
    Crownest__V1__Bucket *day = make(DAY, 1);
    Crownest__Records__SandboxRecord *record = lives_begin(&lives, 1);
    struct metered *metered = running(record, 0);

    /* Not by looking again and again, which is what moves the clock. */
    (void)nanosleep(&(struct timespec){.tv_sec = 1, .tv_nsec = 1000000}, NULL);
    timeline_turn(record->meter, CROWNEST__RECORDS__METER_STATE__METER_STATE_ENDED,
                  meter_now(record->meter), lives.arena);
    meter_note(metered, record->meter);
    meter_forget(metered);
    assert_true(get(day)->empty);
    int64_t before = begun(day);

    while (begun(day) == before)
        (void)clock_wall_us();
    assert_int_equal(get(day)->spent_unit_usec, 0);
    assert_false(get(day)->empty);
    struct status status = meter_admit(lives.meter, lives_begin(&lives, 2), &second);

    assert_true(status_is_ok(&status));
    meter_forget(second);
    lives_close(&lives);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORES_TEST(a_bucket_counts_from_its_creation_on),
        STORES_TEST(what_is_empty_is_told_and_nothing_more_is_let_in),
        STORES_TEST(a_day_begins_with_a_full_bucket),
    };

    if (setenv("CROWNEST_FAILPOINTS", STEPS, 1) != 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
