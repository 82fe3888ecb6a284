#include "server/util/workers.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

struct workers {
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    struct job *first;
    struct job **last;
    bool ending;
    unsigned count;
    pthread_t threads[];
};

static struct job *workers_take(struct workers *workers)
{
    (void)pthread_mutex_lock(&workers->mutex);
    while (!workers->first && !workers->ending)
        (void)pthread_cond_wait(&workers->wake, &workers->mutex);
    struct job *job = workers->first;

    if (job) {
        workers->first = job->next;
        if (!workers->first)
            workers->last = &workers->first;
    }
    (void)pthread_mutex_unlock(&workers->mutex);
    return job;
}

static void *workers_thread(void *arg)
{
    struct workers *workers = arg;

    for (struct job *job; (job = workers_take(workers)) != NULL;)
        job->run(job);
    return NULL;
}

struct workers *workers_new(const char *name, unsigned threads)
{
    struct workers *workers = calloc(1, sizeof(*workers) + threads * sizeof(pthread_t));

    if (!workers)
        abort();
    (void)pthread_mutex_init(&workers->mutex, NULL);
    (void)pthread_cond_init(&workers->wake, NULL);
    workers->last = &workers->first;
    workers->count = threads;
    for (unsigned i = 0; i < threads; i++) {
        if (pthread_create(&workers->threads[i], NULL, workers_thread, workers) != 0)
            abort();
        (void)pthread_setname_np(workers->threads[i], name);
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
        (void)pthread_join(workers->threads[i], NULL);
    (void)pthread_cond_destroy(&workers->wake);
    (void)pthread_mutex_destroy(&workers->mutex);
    free(workers);
}
