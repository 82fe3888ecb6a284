/* Workers: jobs in order, and no tenant on more than its share of the threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "server/util/workers.h"

#define THREADS 4
#define SHARE 2

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool held;
static unsigned running_slow, most_slow, done_slow, done_quick;

static void wait_for(const unsigned *counter, unsigned value)
{
    (void)pthread_mutex_lock(&mutex);
    while (*counter < value)
        (void)pthread_cond_wait(&changed, &mutex);
    (void)pthread_mutex_unlock(&mutex);
}

static void run_slow(struct job *job)
{
    free(job);
    (void)pthread_mutex_lock(&mutex);
    if (++running_slow > most_slow)
        most_slow = running_slow;
    (void)pthread_cond_broadcast(&changed);
    while (held)
        (void)pthread_cond_wait(&changed, &mutex);
    running_slow--;
    done_slow++;
    (void)pthread_cond_broadcast(&changed);
    (void)pthread_mutex_unlock(&mutex);
}

static void run_quick(struct job *job)
{
    free(job);
    (void)pthread_mutex_lock(&mutex);
    done_quick++;
    (void)pthread_cond_broadcast(&changed);
    (void)pthread_mutex_unlock(&mutex);
}

static void submit(struct workers *workers, void (*run)(struct job *job), const char *tenant)
{
    struct job *job = calloc(1, sizeof(*job));

    assert_non_null(job);
    job->run = run;
    job->tenant = tenant;
    workers_submit(workers, job);
}

static int reset(void **state)
{
    (void)state;
    held = true;
    running_slow = most_slow = done_slow = done_quick = 0;
    return 0;
}

static void release(void)
{
    (void)pthread_mutex_lock(&mutex);
    held = false;
    (void)pthread_cond_broadcast(&changed);
    (void)pthread_mutex_unlock(&mutex);
}

static void a_slow_tenant_holds_up_nobody_else(void **state)
{
    struct workers *workers = workers_new("test", THREADS, SHARE);

    (void)state;
    for (size_t i = 0; i < THREADS * 4; i++)
        submit(workers, run_slow, "slow");
    wait_for(&running_slow, SHARE);
    for (size_t i = 0; i < 8; i++)
        submit(workers, run_quick, i % 2 ? "quick" : NULL);
    wait_for(&done_quick, 8);
    assert_int_equal(most_slow, SHARE);
    release();
    wait_for(&done_slow, THREADS * 4);
    assert_in_range(most_slow, SHARE, SHARE);
    workers_free(workers);
}

static void the_end_waits_for_what_was_submitted(void **state)
{
    struct workers *workers = workers_new("test", THREADS, SHARE);

    (void)state;
    release();
    for (size_t i = 0; i < 200; i++)
        submit(workers, run_slow, "slow");
    workers_free(workers);
    assert_int_equal(done_slow, 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_slow_tenant_holds_up_nobody_else, reset),
        cmocka_unit_test_setup(the_end_waits_for_what_was_submitted, reset),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
