#include "server/policy/operator.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/policy/login_rate.h"
#include "server/policy/password.h"
#include "server/policy/session.h"
#include "server/store/record.h"
#include "server/util/cleanup.h"
#include "server/util/clock.h"
#include "server/util/limits.h"
#include "server/util/prototime.h"

struct operators {
    struct store *store;
    struct password_desk *desk;
    struct login_rate *rate;
    pthread_mutex_t changing; /* records are read, changed and written back */
};

struct operators *operators_new(struct store *store)
{
    struct operators *operators = calloc(1, sizeof(*operators));

    if (!operators)
        abort();
    operators->store = store;
    operators->desk = password_desk_new();
    operators->rate = login_rate_new();
    (void)pthread_mutex_init(&operators->changing, NULL);
    return operators;
}

void operators_free(struct operators *operators)
{
    if (!operators)
        return;
    password_desk_free(operators->desk);
    login_rate_free(operators->rate);
    (void)pthread_mutex_destroy(&operators->changing);
    free(operators);
}

bool operator_name_valid(const char *name)
{
    size_t size = strlen(name);

    return size > 0 && size < OPERATOR_NAME_SIZE && name[0] >= 'a' && name[0] <= 'z' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == size &&
           strcmp(name, OPERATOR_LOCAL) != 0;
}

void operator_fill(const struct operators *operators, Crownest__V1__Operator *record,
                   struct arena *arena)
{
    record->sessions = session_count(operators->store, record->name, arena);
}

static Crownest__Records__OperatorRecord *find(const struct operators *operators, const char *name,
                                               struct arena *arena)
{
    struct schema_key key = schema_key("o", name, NULL, NULL);
    Crownest__Records__OperatorRecord *record;

    if (!operator_name_valid(name) ||
        record_get(operators->store, &key, &crownest__records__operator_record__descriptor, arena,
                   &record) < 0)
        return NULL;
    return record;
}

static struct status not_found(void)
{
    return status_at(
        status_error(STATUS_NOT_FOUND, "OPERATOR_NOT_FOUND", "no operator has this name"), "name");
}

static void put(struct store_batch *batch, const Crownest__Records__OperatorRecord *record)
{
    struct schema_key key = schema_key("o", record->operator_->name, NULL, NULL);

    record_put(batch, &key, &record->base);
}

/* The entry of a change. */
static void add_entry(struct store_batch *batch, const struct audit_actor *by, const char *action,
                      const char *name)
{
    audit_add(batch, &(struct audit_entry){.actor = by, .action = action, .resource_id = name});
}

/* Create */

static bool count_visit(void *arg, struct bytes key, struct bytes value)
{
    (void)key;
    (void)value;
    return ++*(unsigned *)arg < LIMIT_OPERATORS;
}

static struct status check_count(const struct operators *operators)
{
    struct schema_key prefix = schema_key("o", "", NULL, NULL);
    unsigned count = 0;

    (void)store_scan(operators->store, schema_bytes(&prefix), bytes_of(NULL, 0), STORE_ASCENDING,
                     count_visit, &count);
    if (count >= LIMIT_OPERATORS)
        return status_error(STATUS_RESOURCE_EXHAUSTED, "OPERATOR_LIMIT",
                            "there are %d operators already; delete one", LIMIT_OPERATORS);
    return STATUS_OK_VALUE;
}

/* Whoever asks again, for the first answer was lost, has the password too. */
static struct status already_there(const Crownest__Records__OperatorRecord *record,
                                   const char *password, Crownest__V1__Operator **ret_operator)
{
    bool match = false;
    struct status status = password_verify(record->password_hash, password, &match);

    if (status_is_ok(&status) && !match)
        status = status_at(status_error(STATUS_ALREADY_EXISTS, "OPERATOR_EXISTS",
                                        "there is an operator named %s", record->operator_->name),
                           "name");
    *ret_operator = record->operator_;
    return status;
}

static struct status create(struct operators *operators, const char *name, const char *password,
                            const struct audit_actor *by, struct arena *arena,
                            Crownest__V1__Operator **ret_operator)
{
    Crownest__Records__OperatorRecord *record = find(operators, name, arena);
    char hash[PASSWORD_HASH_SIZE];

    if (record)
        return already_there(record, password, ret_operator);
    struct status status = check_count(operators);

    if (status_is_ok(&status))
        status = password_hash(password, hash);
    if (!status_is_ok(&status))
        return status;
    record = arena_alloc(arena, sizeof(*record));
    crownest__records__operator_record__init(record);
    record->operator_ = arena_alloc(arena, sizeof(*record->operator_));
    crownest__v1__operator__init(record->operator_);
    record->operator_->name = arena_strdup(arena, name);
    record->operator_->create_time = prototime_from_us(arena, clock_wall_us());
    record->operator_->password_time = record->operator_->create_time;
    record->password_hash = arena_strdup(arena, hash);
    *ret_operator = record->operator_;
    struct store_batch *batch = store_batch_new();

    add_entry(batch, by, "operator.create", name);
    put(batch, record);
    return record_commit(operators->store, batch);
}

/* At the desk nobody else makes an operator. */
struct status operator_create(struct operators *operators, const char *name, const char *password,
                              const struct audit_actor *by, struct arena *arena,
                              Crownest__V1__Operator **ret_operator)
{
    if (!operator_name_valid(name))
        return status_invalid("name", "OPERATOR_NAME_INVALID",
                              "an operator's name is [a-z][a-z0-9-]*, at most %d characters, and "
                              "not `" OPERATOR_LOCAL "`",
                              OPERATOR_NAME_SIZE - 1);
    struct status status = password_check(password);

    if (status_is_ok(&status))
        status = password_enter(operators->desk);
    if (!status_is_ok(&status))
        return status;
    status = create(operators, name, password, by, arena, ret_operator);
    password_leave(operators->desk);
    return status;
}

/* Passwords */

static struct status change_password(struct operators *operators, const char *name, char *hash,
                                     const struct audit_actor *by, struct arena *arena,
                                     Crownest__V1__Operator **ret_operator)
{
    lock_scope(&operators->changing);
    Crownest__Records__OperatorRecord *record = find(operators, name, arena);

    if (!record)
        return not_found();
    struct store_batch *batch = store_batch_new();

    record->password_hash = hash;
    record->operator_->password_time = prototime_from_us(arena, clock_wall_us());
    add_entry(batch, by, "operator.set_password", name);
    put(batch, record);
    session_end(operators->store, batch, name, NULL);
    *ret_operator = record->operator_;
    return record_commit(operators->store, batch);
}

struct status operator_set_password(struct operators *operators, const char *name,
                                    const char *password, const struct audit_actor *by,
                                    struct arena *arena, Crownest__V1__Operator **ret_operator)
{
    char hash[PASSWORD_HASH_SIZE];
    struct status status = password_check(password);

    if (status_is_ok(&status) && !find(operators, name, arena))
        status = not_found();
    if (status_is_ok(&status))
        status = password_enter(operators->desk);
    if (!status_is_ok(&status))
        return status;
    status = password_hash(password, hash);
    if (status_is_ok(&status))
        status = change_password(operators, name, hash, by, arena, ret_operator);
    password_leave(operators->desk);
    return status;
}

/* Sessions */

static struct status rate_refusal(uint32_t wait_ms)
{
    struct status status =
        status_error(STATUS_RESOURCE_EXHAUSTED, "LOGIN_RATE",
                     "too many logins have failed; try again in %u s, or over the local socket",
                     wait_ms / 1000 + 1);

    status.retryable = true;
    status.retry_after_ms = wait_ms;
    return status;
}

static struct status check_rate(const struct operators *operators, const char *name)
{
    uint32_t wait_ms = login_rate_wait(operators->rate, name, clock_monotonic_ms());

    return wait_ms > 0 ? rate_refusal(wait_ms) : STATUS_OK_VALUE;
}

static struct status login_failed(void)
{
    return status_error(STATUS_UNAUTHENTICATED, "LOGIN_FAILED", "wrong name or password");
}

/* Who logs in, and with what. */
struct attempt {
    const char *name;
    const char *password;
    uint64_t ttl_ms;
    const char *request_id;
};

/* verified: what the password was found to be the password of. */
static struct status begin_session(struct operators *operators, const struct attempt *attempt,
                                   const char *verified, struct arena *arena,
                                   char ret_token[SECRET_SIZE],
                                   Crownest__Records__SessionRecord **ret_session)
{
    lock_scope(&operators->changing);
    Crownest__Records__OperatorRecord *record = find(operators, attempt->name, arena);

    /* It was changed while we looked at it. */
    if (!record || strcmp(record->password_hash, verified) != 0)
        return login_failed();
    struct store_batch *batch = store_batch_new();
    struct audit_actor by = {0};

    (void)snprintf(by.id, sizeof(by.id), "operator:%s", attempt->name);
    (void)snprintf(by.request_id, sizeof(by.request_id), "%s", attempt->request_id);
    add_entry(batch, &by, "operator.login", attempt->name);
    record->operator_->last_login_time = prototime_from_us(arena, clock_wall_us());
    put(batch, record);
    session_add(operators->store, batch, attempt->name, attempt->ttl_ms, arena, ret_token,
                ret_session);
    return record_commit(operators->store, batch);
}

/* At the desk, so that the failures of one do not overtake the look at them of another. */
static struct status login(struct operators *operators, const struct attempt *attempt,
                           struct arena *arena, char ret_token[SECRET_SIZE],
                           Crownest__Records__SessionRecord **ret_session)
{
    struct status status = check_rate(operators, attempt->name);
    Crownest__Records__OperatorRecord *record = find(operators, attempt->name, arena);
    const char *hash = record ? record->password_hash : NULL;
    bool match = false;

    if (status_is_ok(&status))
        status = password_verify(hash, attempt->password, &match);
    if (!status_is_ok(&status))
        return status;
    if (!match) {
        login_rate_failed(operators->rate, attempt->name, clock_monotonic_ms());
        return login_failed();
    }
    login_rate_succeeded(operators->rate, attempt->name);
    return begin_session(operators, attempt, hash, arena, ret_token, ret_session);
}

struct status operator_login(struct operators *operators, const char *name, const char *password,
                             uint64_t ttl_ms, const char *request_id, struct arena *arena,
                             char ret_token[SECRET_SIZE],
                             Crownest__Records__SessionRecord **ret_session)
{
    const struct attempt attempt = {name, password, ttl_ms, request_id};
    /* Who has to wait takes no place at the desk from others. */
    struct status status = check_rate(operators, name);

    if (status_is_ok(&status))
        status = password_enter(operators->desk);
    if (!status_is_ok(&status))
        return status;
    status = login(operators, &attempt, arena, ret_token, ret_session);
    password_leave(operators->desk);
    return status;
}

struct status operator_logout(struct operators *operators, const char *name, const char *session_id,
                              const struct audit_actor *by)
{
    lock_scope(&operators->changing);
    struct store_batch *batch = store_batch_new();

    add_entry(batch, by, "operator.logout", name);
    session_end(operators->store, batch, name, session_id);
    return record_commit(operators->store, batch);
}

struct status operator_delete(struct operators *operators, const char *name,
                              const struct audit_actor *by, struct arena *arena)
{
    lock_scope(&operators->changing);
    struct schema_key key = schema_key("o", name, NULL, NULL);

    if (!find(operators, name, arena))
        return not_found();
    struct store_batch *batch = store_batch_new();

    add_entry(batch, by, "operator.delete", name);
    record_delete(batch, &key);
    session_end(operators->store, batch, name, NULL);
    return record_commit(operators->store, batch);
}
