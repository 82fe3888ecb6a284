#include "server/gateway/connector.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/queue.h>

#include "server/util/cleanup.h"

#define STACK_BYTES (256U << 10)

struct connector_job {
    TAILQ_ENTRY(connector_job) link;
    char preview_id[GATEWAY_ID_SIZE];
    void *owner; /* NULL: abandoned */
    int result;
};

TAILQ_HEAD(job_list, connector_job);

struct connector {
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

static uint32_t running_of(const struct connector *connector, const char *preview_id)
{
    struct connector_job *job;
    uint32_t count = 0;

    TAILQ_FOREACH(job, &connector->running, link)
    count += strcmp(job->preview_id, preview_id) == 0;
    return count;
}

/* The oldest job whose preview has a thread to spare; the mutex is held. */
static struct connector_job *next_job(struct connector *connector)
{
    struct connector_job *job;

    TAILQ_FOREACH(job, &connector->queued, link)
    {
        if (running_of(connector, job->preview_id) < connector->per_preview)
            return job;
    }
    return NULL;
}

static void finish(struct connector *connector, struct connector_job *job)
{
    uint64_t one = 1;

    TAILQ_REMOVE(&connector->running, job, link);
    TAILQ_INSERT_TAIL(&connector->finished, job, link);
    (void)pthread_cond_broadcast(&connector->work);
    if (write(connector->wake_fd, &one, sizeof(one)) != (ssize_t)sizeof(one))
        abort(); /* an eventfd takes eight bytes, or blocks */
}

static void *work(void *arg)
{
    struct connector *connector = arg;

    lock_scope(&connector->mutex);
    while (!connector->stopping) {
        struct connector_job *job = next_job(connector);

        if (!job) {
            (void)pthread_cond_wait(&connector->work, &connector->mutex);
            continue;
        }
        TAILQ_REMOVE(&connector->queued, job, link);
        TAILQ_INSERT_TAIL(&connector->running, job, link);
        connector->queued_count--;
        (void)pthread_mutex_unlock(&connector->mutex);
        job->result = connector->hooks.connect(connector->hooks.arg, job->preview_id);
        (void)pthread_mutex_lock(&connector->mutex);
        finish(connector, job);
    }
    return NULL;
}

static int start_threads(struct connector *connector, unsigned count)
{
    pthread_attr_t attributes;
    sigset_t all, before;
    int error = 0;

    connector->threads = calloc(count, sizeof(*connector->threads));
    if (!connector->threads)
        abort();
    (void)sigfillset(&all);
    (void)pthread_attr_init(&attributes);
    (void)pthread_attr_setstacksize(&attributes, STACK_BYTES);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    while (connector->thread_count < count && error == 0) {
        error = pthread_create(&connector->threads[connector->thread_count], &attributes, work,
                               connector);
        if (error == 0)
            connector->thread_count++;
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attributes);
    return error;
}

int connector_new(const struct gateway_hooks *hooks, const struct gateway_limits *limits,
                  int wake_fd, struct connector **ret_connector, struct err *err)
{
    struct connector *connector = calloc(1, sizeof(*connector));

    if (!connector)
        abort();
    connector->hooks = *hooks;
    connector->queue_max = limits->connects_queued;
    connector->per_preview = limits->connects_per_preview;
    connector->wake_fd = wake_fd;
    TAILQ_INIT(&connector->queued);
    TAILQ_INIT(&connector->running);
    TAILQ_INIT(&connector->finished);
    (void)pthread_mutex_init(&connector->mutex, NULL);
    (void)pthread_cond_init(&connector->work, NULL);
    int error = start_threads(connector, limits->connect_threads);

    if (error) {
        connector_free(connector);
        return err_set(err, error, "start the gateway's connecting threads");
    }
    *ret_connector = connector;
    return 0;
}

static void free_jobs(struct job_list *list, bool finished)
{
    struct connector_job *job;

    while ((job = TAILQ_FIRST(list))) {
        TAILQ_REMOVE(list, job, link);
        if (finished && job->result >= 0)
            (void)close(job->result);
        free(job);
    }
}

void connector_free(struct connector *connector)
{
    if (!connector)
        return;
    (void)pthread_mutex_lock(&connector->mutex);
    connector->stopping = true;
    (void)pthread_cond_broadcast(&connector->work);
    (void)pthread_mutex_unlock(&connector->mutex);
    for (unsigned i = 0; i < connector->thread_count; i++)
        (void)pthread_join(connector->threads[i], NULL);
    free_jobs(&connector->queued, false);
    free_jobs(&connector->finished, true);
    (void)pthread_cond_destroy(&connector->work);
    (void)pthread_mutex_destroy(&connector->mutex);
    free(connector->threads);
    free(connector);
}

struct connector_job *connector_submit(struct connector *connector, const char *preview_id,
                                       void *owner)
{
    lock_scope(&connector->mutex);
    if (connector->queued_count >= connector->queue_max)
        return NULL;
    struct connector_job *job = calloc(1, sizeof(*job));

    if (!job)
        abort();
    memcpy(job->preview_id, preview_id, strnlen(preview_id, sizeof(job->preview_id) - 1));
    job->owner = owner;
    TAILQ_INSERT_TAIL(&connector->queued, job, link);
    connector->queued_count++;
    (void)pthread_cond_signal(&connector->work);
    return job;
}

void connector_abandon(struct connector *connector, struct connector_job *job)
{
    struct connector_job *queued;

    lock_scope(&connector->mutex);
    job->owner = NULL;
    TAILQ_FOREACH(queued, &connector->queued, link)
    {
        if (queued == job) {
            TAILQ_REMOVE(&connector->queued, job, link);
            connector->queued_count--;
            free(job);
            return;
        }
    }
}

bool connector_take(struct connector *connector, void **ret_owner, int *ret_result)
{
    lock_scope(&connector->mutex);
    for (;;) {
        struct connector_job *job = TAILQ_FIRST(&connector->finished);

        if (!job)
            return false;
        TAILQ_REMOVE(&connector->finished, job, link);
        *ret_owner = job->owner;
        *ret_result = job->result;
        free(job);
        if (*ret_owner)
            return true;
        if (*ret_result >= 0)
            (void)close(*ret_result);
    }
}
