#include "server/policy/password.h"

#include <argon2.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "server/util/cleanup.h"
#include "server/util/limits.h"
#include "server/util/secret.h"

#define PASSES 3
#define MEMORY_KIB (64 << 10)
#define LANES 1
#define SALT_SIZE 16
#define HASH_SIZE 32
#define PASSWORD_MIN 10
#define PASSWORD_MAX 256

struct password_desk {
    pthread_mutex_t mutex;
    pthread_cond_t left;
    unsigned waiting;
    bool taken;
};

struct password_desk *password_desk_new(void)
{
    struct password_desk *desk = calloc(1, sizeof(*desk));

    if (!desk)
        abort();
    (void)pthread_mutex_init(&desk->mutex, NULL);
    (void)pthread_cond_init(&desk->left, NULL);
    return desk;
}

void password_desk_free(struct password_desk *desk)
{
    if (!desk)
        return;
    (void)pthread_cond_destroy(&desk->left);
    (void)pthread_mutex_destroy(&desk->mutex);
    free(desk);
}

struct status password_enter(struct password_desk *desk)
{
    lock_scope(&desk->mutex);
    if (desk->taken && desk->waiting == LIMIT_PASSWORDS_WAITING) {
        struct status status = status_error(STATUS_RESOURCE_EXHAUSTED, "LOGIN_BUSY",
                                            "too many passwords are being checked; try again");

        status.retryable = true;
        status.retry_after_ms = 1000;
        return status;
    }
    desk->waiting++;
    while (desk->taken)
        (void)pthread_cond_wait(&desk->left, &desk->mutex);
    desk->waiting--;
    desk->taken = true;
    return STATUS_OK_VALUE;
}

void password_leave(struct password_desk *desk)
{
    lock_scope(&desk->mutex);
    desk->taken = false;
    (void)pthread_cond_signal(&desk->left);
}

struct status password_check(const char *password)
{
    size_t size = strlen(password);

    if (size < PASSWORD_MIN || size > PASSWORD_MAX)
        return status_invalid("password", "PASSWORD_INVALID", "a password has %d to %d bytes",
                              PASSWORD_MIN, PASSWORD_MAX);
    return STATUS_OK_VALUE;
}

static struct status no_memory(void)
{
    return status_unavailable("PASSWORD_MEMORY", "there is no memory to hash a password in");
}

struct status password_hash(const char *password, char ret_hash[PASSWORD_HASH_SIZE])
{
    uint8_t salt[SALT_SIZE];

    if (getrandom(salt, sizeof(salt), 0) != sizeof(salt))
        abort();
    if (argon2id_hash_encoded(PASSES, MEMORY_KIB, LANES, password, strlen(password), salt,
                              sizeof(salt), HASH_SIZE, ret_hash, PASSWORD_HASH_SIZE) != ARGON2_OK)
        return no_memory();
    return STATUS_OK_VALUE;
}

/* What it would have cost to find that the password is wrong. */
static int spend(const char *password)
{
    static const uint8_t salt[SALT_SIZE];
    uint8_t hash[HASH_SIZE];
    int r = argon2id_hash_raw(PASSES, MEMORY_KIB, LANES, password, strlen(password), salt,
                              sizeof(salt), hash, sizeof(hash));

    secret_wipe(hash, sizeof(hash));
    return r == ARGON2_OK ? ARGON2_VERIFY_MISMATCH : r;
}

struct status password_verify(const char *hash, const char *password, bool *ret_match)
{
    /* Longer ones are nobody's, and must not cost more. */
    bool possible = hash && strlen(password) <= PASSWORD_MAX;
    /* The library compares in constant time. */
    int r = possible ? argon2id_verify(hash, password, strlen(password))
                     : spend(strlen(password) <= PASSWORD_MAX ? password : "");

    if (r != ARGON2_OK && r != ARGON2_VERIFY_MISMATCH)
        return no_memory();
    *ret_match = r == ARGON2_OK;
    return STATUS_OK_VALUE;
}
