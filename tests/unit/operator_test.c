/* Operators: what is stored of a password, who gets a session, and when it ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "server/policy/operator.h"
#include "server/policy/session.h"
#include "server/store/record.h"
#include "server/util/limits.h"
#include "tests/unit/stores.h"

#define PASSWORD "correct horse"
#define HOUR_MS 3600000ULL

static struct store *store;
static struct operators *operators;
static struct arena *arena;

static int setup(void **state)
{
    int r = stores_setup(state);

    if (r == 0) {
        store = stores_open(*state);
        operators = operators_new(store);
        arena = arena_new(1 << 20);
    }
    return r;
}

static int teardown(void **state)
{
    arena_free(arena);
    operators_free(operators);
    store_close(store);
    return stores_teardown(state);
}

#define OPERATOR_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static void assert_status(struct status status, enum status_code code, const char *reason)
{
    assert_int_equal(status.code, code);
    if (code != STATUS_OK)
        assert_string_equal(status.reason, reason);
}

static struct status create(const char *name, const char *password)
{
    Crownest__V1__Operator *made;

    return operator_create(operators, name, password, NULL, arena, &made);
}

static struct status login(const char *name, const char *password, char token[SECRET_SIZE])
{
    Crownest__Records__SessionRecord *session;

    return operator_login(operators, name, password, HOUR_MS, "req_test", arena, token, &session);
}

static struct status find(const char *token)
{
    Crownest__Records__SessionRecord *session;

    return session_find(store, token, arena, &session);
}

static void a_password_is_stored_as_argon2id_with_its_cost(void **state)
{
    struct schema_key key = schema_key("o", "ada", NULL, NULL);
    Crownest__Records__OperatorRecord *record;

    (void)state;
    assert_status(create("ada", PASSWORD), STATUS_OK, NULL);
    assert_int_equal(
        record_get(store, &key, &crownest__records__operator_record__descriptor, arena, &record),
        0);
    assert_int_equal(strncmp(record->password_hash, "$argon2id$v=19$m=65536,t=3,p=1$", 31), 0);
}

static void a_name_and_a_password_are_checked(void **state)
{
    static const char *const names[] = {
        "", "Ada", "a/b", "local", "-a", "ada lovelace", "a234567890123456789012345678901"};
    char long_password[258];

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        assert_status(create(names[i], PASSWORD), STATUS_INVALID_ARGUMENT, "OPERATOR_NAME_INVALID");
    memset(long_password, 'x', sizeof(long_password) - 1);
    long_password[sizeof(long_password) - 1] = '\0';
    assert_status(create("ada", "123456789"), STATUS_INVALID_ARGUMENT, "PASSWORD_INVALID");
    assert_status(create("ada", long_password), STATUS_INVALID_ARGUMENT, "PASSWORD_INVALID");
    assert_status(create("ada", long_password + 1), STATUS_OK, NULL);
}

static void a_second_of_the_same_name_is_refused_unless_it_is_the_first_again(void **state)
{
    (void)state;
    assert_status(create("ada", PASSWORD), STATUS_OK, NULL);
    assert_status(create("ada", PASSWORD), STATUS_OK, NULL);
    assert_status(create("ada", PASSWORD "!"), STATUS_ALREADY_EXISTS, "OPERATOR_EXISTS");
}

static void only_the_password_opens_a_session(void **state)
{
    char token[SECRET_SIZE];

    (void)state;
    assert_status(create("ada", PASSWORD), STATUS_OK, NULL);
    assert_status(login("ada", PASSWORD "!", token), STATUS_UNAUTHENTICATED, "LOGIN_FAILED");
    assert_status(login("ada", "", token), STATUS_UNAUTHENTICATED, "LOGIN_FAILED");
    assert_status(login("bob", PASSWORD, token), STATUS_UNAUTHENTICATED, "LOGIN_FAILED");
    assert_status(login("../ada", PASSWORD, token), STATUS_UNAUTHENTICATED, "LOGIN_FAILED");
    assert_status(login("ada", PASSWORD, token), STATUS_OK, NULL);
    assert_status(find(token), STATUS_OK, NULL);
    token[10] = token[10] == '0' ? '1' : '0';
    assert_status(find(token), STATUS_UNAUTHENTICATED, "SESSION_INVALID");
    assert_status(find("cns_"), STATUS_UNAUTHENTICATED, "SESSION_INVALID");
}

/* Somebody else's failures keep even the right password waiting. */
static void too_many_failures_are_stopped(void **state)
{
    char token[SECRET_SIZE];

    (void)state;
    assert_status(create("ada", PASSWORD), STATUS_OK, NULL);
    for (unsigned i = 0; i < LIMIT_LOGIN_FAILURES; i++)
        assert_status(login("ada", "wrong password", token), STATUS_UNAUTHENTICATED,
                      "LOGIN_FAILED");
    struct status status = login("ada", PASSWORD, token);

    assert_status(status, STATUS_RESOURCE_EXHAUSTED, "LOGIN_RATE");
    assert_true(status.retryable);
    assert_in_range(status.retry_after_ms, 1, LIMIT_LOGIN_PAUSE_MS);
    /* One that nobody has is stopped in the same words. */
    for (unsigned i = 0; i < LIMIT_LOGIN_FAILURES; i++)
        assert_status(login("bob", "wrong password", token), STATUS_UNAUTHENTICATED,
                      "LOGIN_FAILED");
    assert_status(login("bob", PASSWORD, token), STATUS_RESOURCE_EXHAUSTED, "LOGIN_RATE");
}

static void a_new_password_ends_all_sessions(void **state)
{
    char first[SECRET_SIZE];
    char second[SECRET_SIZE];
    char other[SECRET_SIZE];
    Crownest__V1__Operator *changed;

    (void)state;
    assert_status(create("ada", PASSWORD), STATUS_OK, NULL);
    assert_status(create("bob", PASSWORD), STATUS_OK, NULL);
    assert_status(login("ada", PASSWORD, first), STATUS_OK, NULL);
    assert_status(login("ada", PASSWORD, second), STATUS_OK, NULL);
    assert_status(login("bob", PASSWORD, other), STATUS_OK, NULL);
    assert_int_equal(session_count(store, "ada", arena), 2);
    assert_status(operator_set_password(operators, "ada", "another horse", NULL, arena, &changed),
                  STATUS_OK, NULL);
    assert_status(find(first), STATUS_UNAUTHENTICATED, "SESSION_INVALID");
    assert_status(find(second), STATUS_UNAUTHENTICATED, "SESSION_INVALID");
    assert_status(find(other), STATUS_OK, NULL);
    assert_status(login("ada", PASSWORD, first), STATUS_UNAUTHENTICATED, "LOGIN_FAILED");
    assert_status(login("ada", "another horse", first), STATUS_OK, NULL);
    assert_status(operator_set_password(operators, "eve", PASSWORD, NULL, arena, &changed),
                  STATUS_NOT_FOUND, "OPERATOR_NOT_FOUND");
}

static void who_is_deleted_is_out(void **state)
{
    char token[SECRET_SIZE];

    (void)state;
    assert_status(create("ada", PASSWORD), STATUS_OK, NULL);
    assert_status(login("ada", PASSWORD, token), STATUS_OK, NULL);
    assert_status(operator_delete(operators, "ada", NULL, arena), STATUS_OK, NULL);
    assert_status(find(token), STATUS_UNAUTHENTICATED, "SESSION_INVALID");
    assert_status(login("ada", PASSWORD, token), STATUS_UNAUTHENTICATED, "LOGIN_FAILED");
    assert_status(operator_delete(operators, "ada", NULL, arena), STATUS_NOT_FOUND,
                  "OPERATOR_NOT_FOUND");
}

/* Sessions are made here without a password, of which each would cost a tenth of a second. */
static void the_oldest_session_makes_room_for_one_too_many(void **state)
{
    static char tokens[LIMIT_SESSIONS_PER_OPERATOR + 3][SECRET_SIZE];
    Crownest__Records__SessionRecord *session;

    (void)state;
    for (size_t i = 0; i < LIMIT_SESSIONS_PER_OPERATOR + 3; i++) {
        struct store_batch *batch = store_batch_new();

        session_add(store, batch, "ada", HOUR_MS, arena, tokens[i], &session);
        assert_int_equal(store_commit(store, batch, STORE_UNSYNCED), 0);
    }
    for (size_t i = 0; i < 3; i++)
        assert_status(find(tokens[i]), STATUS_UNAUTHENTICATED, "SESSION_INVALID");
    for (size_t i = 3; i < LIMIT_SESSIONS_PER_OPERATOR + 3; i++)
        assert_status(find(tokens[i]), STATUS_OK, NULL);
    assert_int_equal(session_count(store, "ada", arena), LIMIT_SESSIONS_PER_OPERATOR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OPERATOR_TEST(a_password_is_stored_as_argon2id_with_its_cost),
        OPERATOR_TEST(a_name_and_a_password_are_checked),
        OPERATOR_TEST(a_second_of_the_same_name_is_refused_unless_it_is_the_first_again),
        OPERATOR_TEST(only_the_password_opens_a_session),
        OPERATOR_TEST(too_many_failures_are_stopped),
        OPERATOR_TEST(a_new_password_ends_all_sessions),
        OPERATOR_TEST(who_is_deleted_is_out),
        OPERATOR_TEST(the_oldest_session_makes_room_for_one_too_many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
