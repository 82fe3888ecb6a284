#include "server/rpc/pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "server/util/cleanup.h"

struct lane {
    struct pool_job *first;
    struct pool_job **last;
    unsigned running;
};

/*
 * Each worker sleeps on a condition of its own and the last to fall asleep is the first to be
 * woken: under light load the same few warm threads do all the work.
 */
struct worker {
    struct pool *pool;
    pthread_t thread;
    pthread_cond_t woken;
    bool idle;
    struct worker *next_idle;
};

/* One for whom a job runs. */
struct tenant {
    char *name;
    unsigned running;
    struct pool_job *first; /* waiting to enter */
    struct pool_job **last;
    UT_hash_handle hh;
};

struct pool {
    pthread_mutex_t mutex;
    struct worker *idle;
    bool stopping;
    unsigned lane_workers;
    unsigned tenant_workers;
    struct tenant *tenants;
    unsigned next_lane;
    unsigned lane_count;
    unsigned worker_count;
    struct lane *lanes;
    struct worker workers[];
};

static struct pool_job *take_job(struct pool *pool)
{
    for (unsigned i = 0; i < pool->lane_count; i++) {
        struct lane *lane = &pool->lanes[(pool->next_lane + i) % pool->lane_count];
        struct pool_job *job = lane->first;

        if (!job || lane->running >= pool->lane_workers)
            continue;
        lane->first = job->next;
        if (!lane->first)
            lane->last = &lane->first;
        lane->running++;
        pool->next_lane = (pool->next_lane + i + 1) % pool->lane_count;
        return job;
    }
    return NULL;
}

/* A lane at its share leaves its jobs to its own workers, so waiting for one never misses a job. */
static struct pool_job *wait_job(struct worker *worker)
{
    struct pool *pool = worker->pool;
    struct pool_job *job;

    while (!(job = take_job(pool)) && !pool->stopping) {
        worker->idle = true;
        worker->next_idle = pool->idle;
        pool->idle = worker;
        while (worker->idle)
            (void)pthread_cond_wait(&worker->woken, &pool->mutex);
    }
    return job;
}

static void wake_one(struct pool *pool)
{
    struct worker *worker = pool->idle;

    if (!worker)
        return;
    pool->idle = worker->next_idle;
    worker->idle = false;
    (void)pthread_cond_signal(&worker->woken);
}

static void *worker_main(void *arg)
{
    struct worker *worker = arg;
    struct pool *pool = worker->pool;
    struct pool_job *job;

    lock_scope(&pool->mutex);
    while ((job = wait_job(worker))) {
        unsigned lane = job->lane;

        (void)pthread_mutex_unlock(&pool->mutex);
        job->run(job->owner);
        (void)pthread_mutex_lock(&pool->mutex);
        pool->lanes[lane].running--;
    }
    return NULL;
}

/* Called with the mutex held. */
static void enqueue(struct pool *pool, struct pool_job *job)
{
    struct lane *lane = &pool->lanes[job->lane];

    job->next = NULL;
    *lane->last = job;
    lane->last = &job->next;
    if (lane->running < pool->lane_workers)
        wake_one(pool);
}

void pool_submit(struct pool *pool, struct pool_job *job)
{
    lock_scope(&pool->mutex);
    enqueue(pool, job);
}

/* Called with the mutex held. */
static struct tenant *tenant_of(struct pool *pool, const char *name)
{
    struct tenant *tenant;

    HASH_FIND_STR(pool->tenants, name, tenant);
    if (tenant)
        return tenant;
    tenant = calloc(1, sizeof(*tenant));
    if (!tenant || !(tenant->name = strdup(name)))
        abort();
    tenant->last = &tenant->first;
    HASH_ADD_KEYPTR(hh, pool->tenants, tenant->name, strlen(tenant->name), tenant);
    return tenant;
}

bool pool_enter(struct pool *pool, struct pool_job *job, const char *name)
{
    lock_scope(&pool->mutex);
    struct tenant *tenant = tenant_of(pool, name);

    if (tenant->running < pool->tenant_workers) {
        tenant->running++;
        return true;
    }
    job->next = NULL;
    *tenant->last = job;
    tenant->last = &job->next;
    return false;
}

void pool_leave(struct pool *pool, const char *name)
{
    lock_scope(&pool->mutex);
    struct tenant *tenant = tenant_of(pool, name);
    struct pool_job *job = tenant->first;

    /* Whoever waited takes the place of the one that leaves. */
    if (job) {
        tenant->first = job->next;
        if (!tenant->first)
            tenant->last = &tenant->first;
        enqueue(pool, job);
    } else if (--tenant->running == 0) {
        HASH_DEL(pool->tenants, tenant);
        free(tenant->name);
        free(tenant);
    }
}

/* Signals are for the main thread: a worker must not be interrupted in a handler's system call. */
static bool start_worker(struct worker *worker)
{
    sigset_t all, before;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(&worker->thread, NULL, worker_main, worker);

    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return code == 0;
}

struct pool *pool_new(unsigned workers, unsigned lanes, unsigned lane_workers,
                      unsigned tenant_workers)
{
    struct pool *pool = calloc(1, sizeof(*pool) + workers * sizeof(pool->workers[0]));

    if (!pool)
        return NULL;
    (void)pthread_mutex_init(&pool->mutex, NULL);
    pool->lane_count = lanes;
    pool->lane_workers = lane_workers;
    pool->tenant_workers = tenant_workers;
    pool->lanes = calloc(lanes, sizeof(*pool->lanes));
    for (unsigned i = 0; pool->lanes && i < lanes; i++)
        pool->lanes[i].last = &pool->lanes[i].first;
    for (unsigned i = 0; pool->lanes && i < workers; i++) {
        pool->workers[i].pool = pool;
        (void)pthread_cond_init(&pool->workers[i].woken, NULL);
        if (!start_worker(&pool->workers[i]))
            break;
        pool->worker_count++;
    }
    if (pool->worker_count == workers)
        return pool;
    pool_free(pool);
    return NULL;
}

void pool_free(struct pool *pool)
{
    if (!pool)
        return;
    (void)pthread_mutex_lock(&pool->mutex);
    pool->stopping = true;
    while (pool->idle)
        wake_one(pool);
    (void)pthread_mutex_unlock(&pool->mutex);
    for (unsigned i = 0; i < pool->worker_count; i++) {
        (void)pthread_join(pool->workers[i].thread, NULL);
        (void)pthread_cond_destroy(&pool->workers[i].woken);
    }
    (void)pthread_mutex_destroy(&pool->mutex);
    free(pool->lanes);
    free(pool);
}
