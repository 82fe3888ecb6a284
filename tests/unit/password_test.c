/* Passwords are hashed one at a time, with few waiting. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "server/policy/password.h"
#include "server/util/limits.h"

static void a_hash_is_of_one_password_and_different_each_time(void **state)
{
    char hash[PASSWORD_HASH_SIZE];
    char again[PASSWORD_HASH_SIZE];
    bool match = false;
    struct status status = password_hash("correct horse", hash);

    (void)state;
    assert_true(status_is_ok(&status));
    status = password_hash("correct horse", again);
    assert_true(status_is_ok(&status));
    assert_string_not_equal(hash, again);
    status = password_verify(hash, "correct horse", &match);
    assert_true(status_is_ok(&status) && match);
    status = password_verify(hash, "correct horsf", &match);
    assert_true(status_is_ok(&status) && !match);
    match = true;
    status = password_verify(NULL, "correct horse", &match);
    assert_true(status_is_ok(&status) && !match);
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static unsigned refused;
static unsigned served;

static void *wait_turn(void *arg)
{
    struct status status = password_enter(arg);
    bool busy = status.code == STATUS_RESOURCE_EXHAUSTED &&
                strcmp(status.reason, "LOGIN_BUSY") == 0 && status.retryable;

    (void)pthread_mutex_lock(&mutex);
    refused += busy;
    served += status_is_ok(&status);
    (void)pthread_cond_broadcast(&changed);
    (void)pthread_mutex_unlock(&mutex);
    if (status_is_ok(&status))
        password_leave(arg);
    return NULL;
}

/* Which of them, is theirs to decide. */
static void one_too_many_is_sent_away_at_once(void **state)
{
    enum { THREADS = LIMIT_PASSWORDS_WAITING + 1 };
    struct password_desk *desk = password_desk_new();
    struct status status = password_enter(desk);
    pthread_t threads[THREADS];

    (void)state;
    assert_true(status_is_ok(&status));
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, wait_turn, desk), 0);
    (void)pthread_mutex_lock(&mutex);
    while (refused == 0)
        (void)pthread_cond_wait(&changed, &mutex);
    assert_int_equal(served, 0);
    (void)pthread_mutex_unlock(&mutex);
    password_leave(desk);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(refused, 1);
    assert_int_equal(served, LIMIT_PASSWORDS_WAITING);
    password_desk_free(desk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hash_is_of_one_password_and_different_each_time),
        cmocka_unit_test(one_too_many_is_sent_away_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
