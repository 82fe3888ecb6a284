/* The pool: no tenant holds more than its share of the workers, whatever lanes its jobs are in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdbool.h>

#include "server/rpc/pool.h"

#define WORKERS 4
#define LANES 4
#define SHARE 2
#define JOBS 16

struct work {
    struct pool_job job;
    const char *tenant;
    bool entered;
};

static struct pool *pool;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool held;
static unsigned inside, most_inside, done_slow, done_quick;

static void act(struct work *work)
{
    bool slow = work->tenant[0] == 's';

    (void)pthread_mutex_lock(&mutex);
    if (slow && ++inside > most_inside)
        most_inside = inside;
    (void)pthread_cond_broadcast(&changed);
    while (slow && held)
        (void)pthread_cond_wait(&changed, &mutex);
    if (slow)
        inside--;
    (void)pthread_mutex_unlock(&mutex);
    pool_leave(pool, work->tenant);
    (void)pthread_mutex_lock(&mutex);
    (*(slow ? &done_slow : &done_quick))++;
    (void)pthread_cond_broadcast(&changed);
    (void)pthread_mutex_unlock(&mutex);
}

static void run(void *owner)
{
    struct work *work = owner;
    bool again = work->entered;

    work->entered = true;
    if (again || pool_enter(pool, &work->job, work->tenant))
        act(work);
}

static void submit(struct work *work, const char *tenant, unsigned lane)
{
    *work = (struct work){.job = {.run = run, .owner = work, .lane = lane}, .tenant = tenant};
    pool_submit(pool, &work->job);
}

static void wait_for(const unsigned *counter, unsigned value)
{
    (void)pthread_mutex_lock(&mutex);
    while (*counter < value)
        (void)pthread_cond_wait(&changed, &mutex);
    (void)pthread_mutex_unlock(&mutex);
}

static void a_slow_tenant_holds_up_nobody_else(void **state)
{
    static struct work slow[JOBS], quick[JOBS];

    (void)state;
    held = true;
    pool = pool_new(WORKERS, LANES, SHARE, SHARE);
    assert_non_null(pool);
    for (unsigned i = 0; i < JOBS; i++)
        submit(&slow[i], "slow", i % LANES);
    wait_for(&inside, SHARE);
    for (unsigned i = 0; i < JOBS; i++)
        submit(&quick[i], "quick", i % LANES);
    wait_for(&done_quick, JOBS);
    assert_int_equal(most_inside, SHARE);
    (void)pthread_mutex_lock(&mutex);
    held = false;
    (void)pthread_cond_broadcast(&changed);
    (void)pthread_mutex_unlock(&mutex);
    wait_for(&done_slow, JOBS);
    assert_int_equal(most_inside, SHARE);
    pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slow_tenant_holds_up_nobody_else),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
