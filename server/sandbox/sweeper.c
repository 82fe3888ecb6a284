#include "server/sandbox/sweeper.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "server/util/cleanup.h"
#include "server/util/clock.h"
#include "server/util/cond.h"

#define INTERVAL_MS 5000
#define BLOBS_INTERVAL_MS 3600000 /* what a crash, or a collection that failed, has left */
#define NICE 10

struct sweeper {
    struct sweep sweep;
    char *log_directory;
    uint64_t blobs_due_ms; /* on the monotonic clock */
    atomic_bool stop;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t stopped;
};

static void rest(struct sweeper *sweeper)
{
    struct timespec deadline = cond_deadline(INTERVAL_MS);
    int r = 0;

    lock_scope(&sweeper->mutex);
    while (!sweeper->stop && r == 0)
        r = pthread_cond_timedwait(&sweeper->stopped, &sweeper->mutex, &deadline);
}

static void sweep_blobs(struct sweeper *sweeper)
{
    uint64_t now = clock_monotonic_ms();

    if (!sweeper->sweep.artifacts || now < sweeper->blobs_due_ms)
        return;
    sweeper->blobs_due_ms = now + BLOBS_INTERVAL_MS;
    artifacts_sweep_blobs(sweeper->sweep.artifacts, &sweeper->stop);
}

static void *sweeper_thread(void *arg)
{
    struct sweeper *sweeper = arg;

    /* Of this thread alone, on Linux. */
    (void)setpriority(PRIO_PROCESS, 0, NICE);
    while (!sweeper->stop) {
        sweeper->sweep.now_ms = clock_wall_ms();
        bool unfinished = sweep_run(&sweeper->sweep);

        sweep_blobs(sweeper);
        if (!unfinished)
            rest(sweeper);
    }
    return NULL;
}

struct sweeper *sweeper_new(const struct sweep *sweep)
{
    struct sweeper *sweeper = calloc(1, sizeof(*sweeper));

    if (!sweeper)
        abort();
    sweeper->log_directory = strdup(sweep->log_directory);
    sweeper->sweep = *sweep;
    sweeper->sweep.log_directory = sweeper->log_directory;
    sweeper->sweep.stop = &sweeper->stop;
    (void)pthread_mutex_init(&sweeper->mutex, NULL);
    cond_init(&sweeper->stopped);
    if (pthread_create(&sweeper->thread, NULL, sweeper_thread, sweeper) != 0)
        abort();
    (void)pthread_setname_np(sweeper->thread, "sweeper");
    return sweeper;
}

void sweeper_free(struct sweeper *sweeper)
{
    if (!sweeper)
        return;
    (void)pthread_mutex_lock(&sweeper->mutex);
    sweeper->stop = true;
    (void)pthread_cond_signal(&sweeper->stopped);
    (void)pthread_mutex_unlock(&sweeper->mutex);
    (void)pthread_join(sweeper->thread, NULL);
    (void)pthread_cond_destroy(&sweeper->stopped);
    (void)pthread_mutex_destroy(&sweeper->mutex);
    free(sweeper->log_directory);
    free(sweeper);
}
