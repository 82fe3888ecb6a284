#include "server/util/workers.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TENANT_SIZE 64

struct worker {
    struct workers *owner;
    pthread_t thread;
    char tenant[TENANT_SIZE]; /* of the job it runs; a copy, since a job may free itself */
};

struct workers {
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    struct job *first;
    struct job **last;
    bool ending;
    unsigned share;
    unsigned count;
    struct worker workers[];
};

/* Called with the mutex held. */
static bool may_run(const struct workers *workers, const struct job *job)
{
    unsigned running = 0;

    if (!job->tenant || job->tenant[0] == '\0')
        return true;
    for (unsigned i = 0; i < workers->count; i++)
        running += strncmp(workers->workers[i].tenant, job->tenant, TENANT_SIZE - 1) == 0;
    return running < workers->share;
}

/* The first that may run. Called with the mutex held. */
static struct job *take_job(struct workers *workers)
{
    for (struct job **at = &workers->first; *at; at = &(*at)->next) {
        struct job *job = *at;

        if (!may_run(workers, job))
            continue;
        *at = job->next;
        if (!*at)
            workers->last = at;
        return job;
    }
    return NULL;
}

static void *workers_thread(void *arg)
{
    struct worker *worker = arg;
    struct workers *workers = worker->owner;
    struct job *job;

    (void)pthread_mutex_lock(&workers->mutex);
    while ((job = take_job(workers)) || !workers->ending || workers->first) {
        if (!job) {
            (void)pthread_cond_wait(&workers->wake, &workers->mutex);
            continue;
        }
        (void)snprintf(worker->tenant, sizeof(worker->tenant), "%s",
                       job->tenant ? job->tenant : "");
        (void)pthread_mutex_unlock(&workers->mutex);
        job->run(job);
        (void)pthread_mutex_lock(&workers->mutex);
        worker->tenant[0] = '\0';
        /* A job that waited for its tenant's share may run now, and nobody else may be awake. */
        if (workers->first || workers->ending)
            (void)pthread_cond_broadcast(&workers->wake);
    }
    (void)pthread_mutex_unlock(&workers->mutex);
    return NULL;
}

struct workers *workers_new(const char *name, unsigned threads, unsigned share)
{
    struct workers *workers = calloc(1, sizeof(*workers) + threads * sizeof(struct worker));

    if (!workers)
        abort();
    (void)pthread_mutex_init(&workers->mutex, NULL);
    (void)pthread_cond_init(&workers->wake, NULL);
    workers->last = &workers->first;
    workers->share = share;
    workers->count = threads;
    for (unsigned i = 0; i < threads; i++) {
        struct worker *worker = &workers->workers[i];

        worker->owner = workers;
        if (pthread_create(&worker->thread, NULL, workers_thread, worker) != 0)
            abort();
        (void)pthread_setname_np(worker->thread, name);
    }
    return workers;
}

void workers_submit(struct workers *workers, struct job *job)
{
    job->next = NULL;
    (void)pthread_mutex_lock(&workers->mutex);
    *workers->last = job;
    workers->last = &job->next;
    (void)pthread_cond_signal(&workers->wake);
    (void)pthread_mutex_unlock(&workers->mutex);
}

void workers_free(struct workers *workers)
{
    if (!workers)
        return;
    (void)pthread_mutex_lock(&workers->mutex);
    workers->ending = true;
    (void)pthread_cond_broadcast(&workers->wake);
    (void)pthread_mutex_unlock(&workers->mutex);
    for (unsigned i = 0; i < workers->count; i++)
        (void)pthread_join(workers->workers[i].thread, NULL);
    (void)pthread_cond_destroy(&workers->wake);
    (void)pthread_mutex_destroy(&workers->mutex);
    free(workers);
}
