#include "server/policy/login_rate.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "server/util/cleanup.h"
#include "server/util/limits.h"
#include "server/util/secret.h"

#define SEED_SIZE 32
#define NAME_BYTES 64 /* of a name that count; nobody has a longer one */

/*
 * Each failure moves a point in time a pause further, at least from now; whoever is further ahead
 * than a few pauses waits. The names share a table of fixed size by a hash that nobody outside can
 * foresee, so that no flood of names makes it grow, or can be aimed at somebody else's place.
 */
struct login_rate {
    pthread_mutex_t mutex;
    uint8_t seed[SEED_SIZE];
    uint64_t all;
    uint64_t names[LIMIT_LOGIN_NAMES];
};

struct login_rate *login_rate_new(void)
{
    struct login_rate *rate = calloc(1, sizeof(*rate));

    if (!rate || getrandom(rate->seed, sizeof(rate->seed), 0) != sizeof(rate->seed))
        abort();
    (void)pthread_mutex_init(&rate->mutex, NULL);
    return rate;
}

void login_rate_free(struct login_rate *rate)
{
    if (!rate)
        return;
    (void)pthread_mutex_destroy(&rate->mutex);
    free(rate);
}

static uint64_t *place_of(struct login_rate *rate, const char *name)
{
    uint8_t text[SEED_SIZE + NAME_BYTES];
    uint8_t hash[SECRET_HASH_SIZE];
    size_t size = strnlen(name, NAME_BYTES);
    uint32_t number;

    memcpy(text, rate->seed, SEED_SIZE);
    memcpy(text + SEED_SIZE, name, size);
    secret_hash(text, SEED_SIZE + size, hash);
    memcpy(&number, hash, sizeof(number));
    return &rate->names[number % LIMIT_LOGIN_NAMES];
}

static uint32_t wait_of(uint64_t point, uint64_t now_ms, uint64_t ahead_ms)
{
    return point > now_ms + ahead_ms ? (uint32_t)(point - now_ms - ahead_ms) : 0;
}

uint32_t login_rate_wait(struct login_rate *rate, const char *name, uint64_t now_ms)
{
    lock_scope(&rate->mutex);
    uint32_t own = wait_of(*place_of(rate, name), now_ms,
                           (LIMIT_LOGIN_FAILURES - 1) * (uint64_t)LIMIT_LOGIN_PAUSE_MS);
    uint32_t all = wait_of(rate->all, now_ms,
                           (LIMIT_LOGIN_ALL_FAILURES - 1) * (uint64_t)LIMIT_LOGIN_ALL_PAUSE_MS);

    return own > all ? own : all;
}

static void move(uint64_t *point, uint64_t now_ms, uint64_t pause_ms)
{
    *point = (*point > now_ms ? *point : now_ms) + pause_ms;
}

void login_rate_failed(struct login_rate *rate, const char *name, uint64_t now_ms)
{
    lock_scope(&rate->mutex);
    move(place_of(rate, name), now_ms, LIMIT_LOGIN_PAUSE_MS);
    move(&rate->all, now_ms, LIMIT_LOGIN_ALL_PAUSE_MS);
}

void login_rate_succeeded(struct login_rate *rate, const char *name)
{
    lock_scope(&rate->mutex);
    *place_of(rate, name) = 0;
}
