#include "server/gateway/connector.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "server/gateway/passage.h"
#include "server/util/cleanup.h"
#include "server/util/close.h"

#define STACK_BYTES (256U << 10)

/* What a sandbox has of the connections. Lives as long as there are any. */
struct share {
    LIST_ENTRY(share) link;
    char sandbox_id[GATEWAY_ID_SIZE];
    uint32_t open;
    uint32_t connecting; /* in the hook */
    pthread_cond_t turn; /* for the hook */
};

struct connector_job {
    TAILQ_ENTRY(connector_job) link;
    struct connector *connector;
    struct share *share; /* NULL: finished */
    char preview_id[GATEWAY_ID_SIZE];
    void *owner; /* NULL: abandoned */
    int result;
};

TAILQ_HEAD(job_list, connector_job);
LIST_HEAD(share_list, share);

struct connector {
    struct gateway_hooks hooks;
    struct gateway_limits limits;
    int wake_fd;
    pthread_attr_t attributes;
    pthread_mutex_t mutex; /* of what follows */
    pthread_cond_t idle;   /* nothing is unfinished */
    struct share_list shares;
    struct job_list finished;
    uint32_t open;       /* threads */
    uint32_t unfinished; /* jobs */
    bool stopping;
    bool freed; /* the last thread frees it */
};

static struct share *find_share(struct connector *connector, const char *sandbox_id)
{
    struct share *share;

    LIST_FOREACH(share, &connector->shares, link)
    {
        if (strcmp(share->sandbox_id, sandbox_id) == 0)
            return share;
    }
    share = calloc(1, sizeof(*share));
    if (!share)
        abort();
    memcpy(share->sandbox_id, sandbox_id, strnlen(sandbox_id, sizeof(share->sandbox_id) - 1));
    (void)pthread_cond_init(&share->turn, NULL);
    LIST_INSERT_HEAD(&connector->shares, share, link);
    return share;
}

static void destroy(struct connector *connector)
{
    (void)pthread_cond_destroy(&connector->idle);
    (void)pthread_mutex_destroy(&connector->mutex);
    (void)pthread_attr_destroy(&connector->attributes);
    free(connector);
}

/* Gives one back; the mutex is held. */
static void give_back(struct connector *connector, struct share *share)
{
    connector->open--;
    if (--share->open > 0)
        return;
    LIST_REMOVE(share, link);
    (void)pthread_cond_destroy(&share->turn);
    free(share);
}

/* The thread's last word. */
static void leave(struct connector *connector, struct share *share)
{
    (void)pthread_mutex_lock(&connector->mutex);
    give_back(connector, share);
    bool last = connector->freed && connector->open == 0;

    (void)pthread_mutex_unlock(&connector->mutex);
    if (last)
        destroy(connector);
}

/* Waits until the sandbox may be asked for one more; false when nobody wants it any longer. */
static bool begin(struct connector *connector, const struct connector_job *job)
{
    struct share *share = job->share;

    lock_scope(&connector->mutex);
    while (share->connecting >= connector->limits.connects_per_sandbox && job->owner &&
           !connector->stopping)
        (void)pthread_cond_wait(&share->turn, &connector->mutex);
    if (!job->owner || connector->stopping)
        return false;
    share->connecting++;
    return true;
}

static void finish(struct connector *connector, struct connector_job *job, bool begun, int result)
{
    uint64_t one = 1;

    lock_scope(&connector->mutex);
    if (begun) {
        job->share->connecting--;
        (void)pthread_cond_signal(&job->share->turn);
    }
    job->share = NULL;
    job->result = result;
    TAILQ_INSERT_TAIL(&connector->finished, job, link);
    if (--connector->unfinished == 0)
        (void)pthread_cond_broadcast(&connector->idle);
    if (write(connector->wake_fd, &one, sizeof(one)) != (ssize_t)sizeof(one))
        abort(); /* an eventfd takes eight bytes, or blocks */
}

/* The loop's end and ours. What is under way between them is bounded by their buffers. */
static int make_pair(int ret_pair[2])
{
    const int size = GATEWAY_INPUT_BYTES;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ret_pair) != 0)
        return -errno;
    for (int i = 0; i < 2; i++)
        (void)setsockopt(ret_pair[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    return 0;
}

/* What one passage's bytes are counted for. */
struct sender {
    struct connector *connector;
    struct share *share;
};

/* A passage may go on when nobody is there any more to count for. */
static void on_sent(void *arg, size_t bytes)
{
    const struct sender *sender = arg;
    struct connector *connector = sender->connector;

    lock_scope(&connector->mutex);
    if (!connector->stopping && connector->hooks.sent)
        connector->hooks.sent(connector->hooks.arg, sender->share->sandbox_id, bytes);
}

static void *work(void *arg)
{
    struct connector_job *job = arg;
    struct connector *connector = job->connector;
    struct share *share = job->share;
    bool begun = begin(connector, job);
    int app = begun ? connector->hooks.connect(connector->hooks.arg, job->preview_id) : -ECANCELED;
    struct sender sender = {.connector = connector, .share = share};
    struct passage_meter meter = {.sent = on_sent, .arg = &sender};
    int pair[2] = {-1, -1};
    int result = app < 0 ? app : make_pair(pair);

    finish(connector, job, begun, result < 0 ? result : pair[0]);
    if (result == 0)
        passage_run(app, pair[1], connector->limits.linger_ms, &meter);
    if (pair[1] >= 0)
        (void)close(pair[1]);
    if (app >= 0)
        close_promptly(app);
    leave(connector, share);
    return NULL;
}

struct connector *connector_new(const struct gateway_hooks *hooks,
                                const struct gateway_limits *limits, int wake_fd)
{
    struct connector *connector = calloc(1, sizeof(*connector));

    if (!connector)
        abort();
    connector->hooks = *hooks;
    connector->limits = *limits;
    connector->wake_fd = wake_fd;
    LIST_INIT(&connector->shares);
    TAILQ_INIT(&connector->finished);
    (void)pthread_mutex_init(&connector->mutex, NULL);
    (void)pthread_cond_init(&connector->idle, NULL);
    (void)pthread_attr_init(&connector->attributes);
    (void)pthread_attr_setstacksize(&connector->attributes, STACK_BYTES);
    (void)pthread_attr_setdetachstate(&connector->attributes, PTHREAD_CREATE_DETACHED);
    return connector;
}

void connector_free(struct connector *connector)
{
    struct share *share;
    void *owner;
    int result;

    if (!connector)
        return;
    (void)pthread_mutex_lock(&connector->mutex);
    connector->stopping = true;
    LIST_FOREACH(share, &connector->shares, link)
    (void)pthread_cond_broadcast(&share->turn);
    while (connector->unfinished > 0)
        (void)pthread_cond_wait(&connector->idle, &connector->mutex);
    (void)pthread_mutex_unlock(&connector->mutex);
    while (connector_take(connector, &owner, &result)) {
        if (result >= 0)
            (void)close(result);
    }
    (void)pthread_mutex_lock(&connector->mutex);
    connector->freed = true;
    bool last = connector->open == 0;

    (void)pthread_mutex_unlock(&connector->mutex);
    if (last)
        destroy(connector);
}

struct connector_job *connector_submit(struct connector *connector, const char *sandbox_id,
                                       const char *preview_id, void *owner)
{
    struct connector_job *job = calloc(1, sizeof(*job));
    pthread_t thread;

    if (!job)
        abort();
    job->connector = connector;
    memcpy(job->preview_id, preview_id, strnlen(preview_id, sizeof(job->preview_id) - 1));
    job->owner = owner;
    lock_scope(&connector->mutex);
    struct share *share = find_share(connector, sandbox_id);
    bool full = connector->open >= connector->limits.passages ||
                share->open >= connector->limits.passages_per_sandbox;

    job->share = share;
    share->open++;
    connector->open++;
    if (full || pthread_create(&thread, &connector->attributes, work, job) != 0) {
        give_back(connector, share);
        free(job);
        return NULL;
    }
    connector->unfinished++;
    return job;
}

void connector_abandon(struct connector *connector, struct connector_job *job)
{
    lock_scope(&connector->mutex);
    job->owner = NULL;
    if (job->share)
        (void)pthread_cond_broadcast(&job->share->turn);
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
