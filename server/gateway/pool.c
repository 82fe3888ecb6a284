#include "server/gateway/pool.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/queue.h>

#include "server/util/cleanup.h"

#define STACK_BYTES (256U << 10)

struct pool_job {
    TAILQ_ENTRY(pool_job) link;
    char preview_id[GATEWAY_ID_SIZE];
    void *owner; /* NULL: abandoned */
    int result;
};

TAILQ_HEAD(job_list, pool_job);

struct pool {
    struct gateway_hooks hooks;
    uint32_t queue_max;
    uint32_t per_preview;
    int wake_fd;
    pthread_mutex_t mutex;
    pthread_cond_t work;
    struct job_list queued, running, finished;
    uint32_t queued_count;
    bool stopping;
    unsigned thread_count;
    pthread_t *threads;
};

static uint32_t running_of(const struct pool *pool, const char *preview_id)
{
    struct pool_job *job;
    uint32_t count = 0;

    TAILQ_FOREACH(job, &pool->running, link)
    count += strcmp(job->preview_id, preview_id) == 0;
    return count;
}

/* The oldest job whose preview has a thread to spare; the mutex is held. */
static struct pool_job *next_job(struct pool *pool)
{
    struct pool_job *job;

    TAILQ_FOREACH(job, &pool->queued, link)
    {
        if (running_of(pool, job->preview_id) < pool->per_preview)
            return job;
    }
    return NULL;
}

static void finish(struct pool *pool, struct pool_job *job)
{
    uint64_t one = 1;

    TAILQ_REMOVE(&pool->running, job, link);
    TAILQ_INSERT_TAIL(&pool->finished, job, link);
    (void)pthread_cond_broadcast(&pool->work);
    if (write(pool->wake_fd, &one, sizeof(one)) != (ssize_t)sizeof(one))
        abort(); /* an eventfd takes eight bytes, or blocks */
}

static void *work(void *arg)
{
    struct pool *pool = arg;

    lock_scope(&pool->mutex);
    while (!pool->stopping) {
        struct pool_job *job = next_job(pool);

        if (!job) {
            (void)pthread_cond_wait(&pool->work, &pool->mutex);
            continue;
        }
        TAILQ_REMOVE(&pool->queued, job, link);
        TAILQ_INSERT_TAIL(&pool->running, job, link);
        pool->queued_count--;
        (void)pthread_mutex_unlock(&pool->mutex);
        job->result = pool->hooks.connect(pool->hooks.arg, job->preview_id);
        (void)pthread_mutex_lock(&pool->mutex);
        finish(pool, job);
    }
    return NULL;
}

static int start_threads(struct pool *pool, unsigned count)
{
    pthread_attr_t attributes;
    sigset_t all, before;
    int error = 0;

    pool->threads = calloc(count, sizeof(*pool->threads));
    if (!pool->threads)
        abort();
    (void)sigfillset(&all);
    (void)pthread_attr_init(&attributes);
    (void)pthread_attr_setstacksize(&attributes, STACK_BYTES);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    while (pool->thread_count < count && error == 0) {
        error = pthread_create(&pool->threads[pool->thread_count], &attributes, work, pool);
        if (error == 0)
            pool->thread_count++;
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attributes);
    return error;
}

int pool_new(const struct gateway_hooks *hooks, const struct gateway_limits *limits, int wake_fd,
             struct pool **ret_pool, struct err *err)
{
    struct pool *pool = calloc(1, sizeof(*pool));

    if (!pool)
        abort();
    pool->hooks = *hooks;
    pool->queue_max = limits->connects_queued;
    pool->per_preview = limits->connects_per_preview;
    pool->wake_fd = wake_fd;
    TAILQ_INIT(&pool->queued);
    TAILQ_INIT(&pool->running);
    TAILQ_INIT(&pool->finished);
    (void)pthread_mutex_init(&pool->mutex, NULL);
    (void)pthread_cond_init(&pool->work, NULL);
    int error = start_threads(pool, limits->connect_threads);

    if (error) {
        pool_free(pool);
        return err_set(err, error, "start the gateway's connecting threads");
    }
    *ret_pool = pool;
    return 0;
}

static void free_jobs(struct job_list *list, bool finished)
{
    struct pool_job *job;

    while ((job = TAILQ_FIRST(list))) {
        TAILQ_REMOVE(list, job, link);
        if (finished && job->result >= 0)
            (void)close(job->result);
        free(job);
    }
}

void pool_free(struct pool *pool)
{
    if (!pool)
        return;
    (void)pthread_mutex_lock(&pool->mutex);
    pool->stopping = true;
    (void)pthread_cond_broadcast(&pool->work);
    (void)pthread_mutex_unlock(&pool->mutex);
    for (unsigned i = 0; i < pool->thread_count; i++)
        (void)pthread_join(pool->threads[i], NULL);
    free_jobs(&pool->queued, false);
    free_jobs(&pool->finished, true);
    (void)pthread_cond_destroy(&pool->work);
    (void)pthread_mutex_destroy(&pool->mutex);
    free(pool->threads);
    free(pool);
}

struct pool_job *pool_submit(struct pool *pool, const char *preview_id, void *owner)
{
    lock_scope(&pool->mutex);
    if (pool->queued_count >= pool->queue_max)
        return NULL;
    struct pool_job *job = calloc(1, sizeof(*job));

    if (!job)
        abort();
    memcpy(job->preview_id, preview_id, strnlen(preview_id, sizeof(job->preview_id) - 1));
    job->owner = owner;
    TAILQ_INSERT_TAIL(&pool->queued, job, link);
    pool->queued_count++;
    (void)pthread_cond_signal(&pool->work);
    return job;
}

void pool_abandon(struct pool *pool, struct pool_job *job)
{
    struct pool_job *queued;

    lock_scope(&pool->mutex);
    job->owner = NULL;
    TAILQ_FOREACH(queued, &pool->queued, link)
    {
        if (queued == job) {
            TAILQ_REMOVE(&pool->queued, job, link);
            pool->queued_count--;
            free(job);
            return;
        }
    }
}

bool pool_take(struct pool *pool, void **ret_owner, int *ret_result)
{
    lock_scope(&pool->mutex);
    for (;;) {
        struct pool_job *job = TAILQ_FIRST(&pool->finished);

        if (!job)
            return false;
        TAILQ_REMOVE(&pool->finished, job, link);
        *ret_owner = job->owner;
        *ret_result = job->result;
        free(job);
        if (*ret_owner)
            return true;
        if (*ret_result >= 0)
            (void)close(*ret_result);
    }
}
