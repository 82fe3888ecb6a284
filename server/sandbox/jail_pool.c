#include "server/sandbox/jail_pool.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/util/cleanup.h"
#include "server/util/clock.h"
#include "server/util/cond.h"
#include "server/util/failpoint.h"
#include "server/util/fdpass.h"

#define RETRY_MS 2000 /* after a jail could not be built in advance */

struct kind {
    uint8_t template_digest[SD_DIGEST_SIZE];
    struct sd_limits limits;
    uint64_t asked_ms; /* 0: the place is free */
    bool filling;
    unsigned ready;
    struct jail jails[JAIL_POOL_SIZE_MAX];
};

struct jail_pool {
    struct sandboxd *sandboxd;
    unsigned size;
    pthread_t thread;
    pthread_mutex_t mutex; /* of what follows */
    pthread_cond_t wake;
    unsigned waiting; /* who builds one because none was ready */
    unsigned lost;
    char lost_ids[JAIL_POOL_LOST_MAX][ID_SIZE];
    bool ending;
    struct kind kinds[JAIL_POOL_KINDS_MAX];
};

/* All limits count, and none has padding behind it: they are part of a message. */
static bool is_kind(const struct kind *kind, const uint8_t digest[SD_DIGEST_SIZE],
                    const struct sd_limits *limits)
{
    return kind->asked_ms != 0 && memcmp(kind->template_digest, digest, SD_DIGEST_SIZE) == 0 &&
           memcmp(&kind->limits, limits, sizeof(*limits)) == 0;
}

static bool is_alive(const struct jail *jail)
{
    struct pollfd pidfd = {.fd = jail->fds[SD_FD_PIDFD], .events = POLLIN};

    return poll(&pidfd, 1, 0) == 0;
}

/* It may be there, and nobody will use it. */
static void lose(struct jail_pool *pool, const char *id)
{
    lock_scope(&pool->mutex);
    if (pool->lost == JAIL_POOL_LOST_MAX)
        return;
    (void)snprintf(pool->lost_ids[pool->lost++], ID_SIZE, "%s", id);
    (void)pthread_cond_signal(&pool->wake);
}

static void destroy(struct jail_pool *pool, struct jail *jail)
{
    struct sd_reply reply;

    fdpass_close(jail->fds, SD_FD_COUNT);
    FAILPOINT("pool.destroy");
    if (sandboxd_kill(pool->sandboxd, jail->id, &reply, NULL) < 0)
        lose(pool, jail->id);
}

/* One that no answer came for is somewhere between asked for and built. */
static int create(struct jail_pool *pool, const char *id, const uint8_t digest[SD_DIGEST_SIZE],
                  const struct sd_limits *limits, struct jail *ret_jail, struct err *err)
{
    int r = sandboxd_create(pool->sandboxd, id, digest, limits, ret_jail->fds, err);

    if (r == -ECONNRESET || r == -ETIMEDOUT || r == -EPROTO)
        lose(pool, id);
    return r;
}

/* The place of a kind. A new kind takes a free one, or that of the kind asked for longest ago. */
static struct kind *kind_place(struct jail_pool *pool, const uint8_t digest[SD_DIGEST_SIZE],
                               const struct sd_limits *limits)
{
    struct kind *oldest = &pool->kinds[0];

    for (size_t i = 0; i < JAIL_POOL_KINDS_MAX; i++) {
        struct kind *kind = &pool->kinds[i];

        if (is_kind(kind, digest, limits))
            return kind;
        if (kind->asked_ms < oldest->asked_ms)
            oldest = kind;
    }
    return oldest;
}

/* Called with the mutex held; ret_old gets the jails of a kind that made room. */
static struct kind *kind_ask(struct jail_pool *pool, const uint8_t digest[SD_DIGEST_SIZE],
                             const struct sd_limits *limits, struct jail *ret_old,
                             unsigned *ret_old_count)
{
    struct kind *kind = kind_place(pool, digest, limits);

    *ret_old_count = 0;
    if (!is_kind(kind, digest, limits)) {
        *ret_old_count = kind->ready;
        memcpy(ret_old, kind->jails, kind->ready * sizeof(*ret_old));
        memset(kind, 0, sizeof(*kind));
        memcpy(kind->template_digest, digest, SD_DIGEST_SIZE);
        kind->limits = *limits;
    }
    kind->asked_ms = clock_monotonic_ms() + 1;
    return kind;
}

bool jail_pool_claim(struct jail_pool *pool, const uint8_t digest[SD_DIGEST_SIZE],
                     const struct sd_limits *limits, struct jail *ret_jail)
{
    struct jail unwanted[JAIL_POOL_SIZE_MAX * 2];
    unsigned unwanted_count;
    bool found = false;

    if (pool->size == 0)
        return false;
    (void)pthread_mutex_lock(&pool->mutex);
    struct kind *kind = kind_ask(pool, digest, limits, unwanted, &unwanted_count);

    while (kind->ready > 0 && !found) {
        struct jail *jail = &kind->jails[--kind->ready];

        found = is_alive(jail);
        if (found)
            *ret_jail = *jail;
        else
            unwanted[unwanted_count++] = *jail;
    }
    if (kind->ready <= pool->size / 2)
        (void)pthread_cond_signal(&pool->wake);
    (void)pthread_mutex_unlock(&pool->mutex);
    for (unsigned i = 0; i < unwanted_count; i++)
        destroy(pool, &unwanted[i]);
    return found;
}

static void count_waiting(struct jail_pool *pool, int change)
{
    lock_scope(&pool->mutex);
    pool->waiting = (unsigned)((int)pool->waiting + change);
    (void)pthread_cond_signal(&pool->wake);
}

int jail_pool_build(struct jail_pool *pool, const char *id, const uint8_t digest[SD_DIGEST_SIZE],
                    const struct sd_limits *limits, struct jail *ret_jail, struct err *err)
{
    count_waiting(pool, 1);
    int r = create(pool, id, digest, limits, ret_jail, err);

    count_waiting(pool, -1);
    if (r == 0)
        (void)snprintf(ret_jail->id, sizeof(ret_jail->id), "%s", id);
    return r;
}

/* Called with the mutex held: a kind that fell to half is filled until it is full. */
static struct kind *kind_to_fill(struct jail_pool *pool)
{
    if (pool->waiting > 0)
        return NULL;
    for (size_t i = 0; i < JAIL_POOL_KINDS_MAX; i++) {
        struct kind *kind = &pool->kinds[i];

        if (kind->asked_ms == 0)
            continue;
        kind->filling =
            kind->ready < pool->size && (kind->filling || kind->ready <= pool->size / 2);
        if (kind->filling)
            return kind;
    }
    return NULL;
}

/* Adds a jail to its kind, unless that has made room or is full meanwhile. */
static bool keep(struct jail_pool *pool, const uint8_t digest[SD_DIGEST_SIZE],
                 const struct sd_limits *limits, const struct jail *jail)
{
    lock_scope(&pool->mutex);
    struct kind *kind = kind_place(pool, digest, limits);

    if (pool->ending || !is_kind(kind, digest, limits) || kind->ready >= pool->size)
        return false;
    kind->jails[kind->ready++] = *jail;
    return true;
}

static int fill_one(struct jail_pool *pool, const uint8_t digest[SD_DIGEST_SIZE],
                    const struct sd_limits *limits)
{
    struct jail jail;

    id_make("sbx_", jail.id);
    int r = create(pool, jail.id, digest, limits, &jail, NULL);

    FAILPOINT("pool.built");
    if (r == 0 && !keep(pool, digest, limits, &jail))
        destroy(pool, &jail);
    return r;
}

/* Called with the mutex held, which is not held meanwhile. */
static int kill_lost(struct jail_pool *pool)
{
    struct sd_reply reply;
    char id[ID_SIZE];

    memcpy(id, pool->lost_ids[0], ID_SIZE);
    pool->lost--;
    memmove(pool->lost_ids[0], pool->lost_ids[1], pool->lost * sizeof(pool->lost_ids[0]));
    (void)pthread_mutex_unlock(&pool->mutex);
    int r = sandboxd_kill(pool->sandboxd, id, &reply, NULL);

    if (r < 0)
        lose(pool, id);
    (void)pthread_mutex_lock(&pool->mutex);
    return r;
}

static void *fill_thread(void *arg)
{
    struct jail_pool *pool = arg;
    int r = 0;

    (void)pthread_mutex_lock(&pool->mutex);
    while (!pool->ending) {
        if (r == 0 && pool->lost > 0) {
            r = kill_lost(pool);
            continue;
        }
        const struct kind *kind = r < 0 ? NULL : kind_to_fill(pool);

        if (!kind) {
            struct timespec retry = cond_deadline(RETRY_MS);

            if (r < 0)
                (void)pthread_cond_timedwait(&pool->wake, &pool->mutex, &retry);
            else
                (void)pthread_cond_wait(&pool->wake, &pool->mutex);
            r = 0;
            continue;
        }
        struct sd_limits limits = kind->limits;
        uint8_t digest[SD_DIGEST_SIZE];

        memcpy(digest, kind->template_digest, sizeof(digest));
        (void)pthread_mutex_unlock(&pool->mutex);
        r = fill_one(pool, digest, &limits);
        (void)pthread_mutex_lock(&pool->mutex);
    }
    (void)pthread_mutex_unlock(&pool->mutex);
    return NULL;
}

struct jail_pool *jail_pool_new(struct sandboxd *sandboxd, unsigned size)
{
    struct jail_pool *pool = calloc(1, sizeof(*pool));

    if (!pool)
        abort();
    pool->sandboxd = sandboxd;
    pool->size = size < JAIL_POOL_SIZE_MAX ? size : JAIL_POOL_SIZE_MAX;
    (void)pthread_mutex_init(&pool->mutex, NULL);
    cond_init(&pool->wake);
    if (pthread_create(&pool->thread, NULL, fill_thread, pool) != 0)
        abort();
    (void)pthread_setname_np(pool->thread, "jail-pool");
    return pool;
}

void jail_pool_free(struct jail_pool *pool)
{
    if (!pool)
        return;
    (void)pthread_mutex_lock(&pool->mutex);
    pool->ending = true;
    (void)pthread_cond_signal(&pool->wake);
    (void)pthread_mutex_unlock(&pool->mutex);
    (void)pthread_join(pool->thread, NULL);
    for (size_t k = 0; k < JAIL_POOL_KINDS_MAX; k++) {
        for (unsigned i = 0; i < pool->kinds[k].ready; i++)
            destroy(pool, &pool->kinds[k].jails[i]);
    }
    for (unsigned i = 0; i < pool->lost; i++) {
        struct sd_reply reply;

        (void)sandboxd_kill(pool->sandboxd, pool->lost_ids[i], &reply, NULL);
    }
    (void)pthread_cond_destroy(&pool->wake);
    (void)pthread_mutex_destroy(&pool->mutex);
    free(pool);
}
