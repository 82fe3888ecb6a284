/*
 * Operators by name: passwords, and sessions that begin with one. Functions may be called from any
 * thread. Those that end sessions leave open streams to the caller.
 */
#pragma once

#include "private/records.pb-c.h"
#include "server/audit/audit.h"
#include "server/store/store.h"
#include "server/util/arena.h"
#include "server/util/secret.h"
#include "server/util/status.h"

#define OPERATOR_NAME_SIZE 31
#define OPERATOR_LOCAL "local" /* what peers of the unix socket are called; nobody's name */

struct operators;

struct operators *operators_new(struct store *store);
/* No call may be under way. NULL is fine. */
void operators_free(struct operators *operators);

/* Whether the text could be an operator's name. */
bool operator_name_valid(const char *name);
/* How many sessions of it have not ended. */
void operator_fill(const struct operators *operators, Crownest__V1__Operator *record,
                   struct arena *arena);

/*
 * INVALID_ARGUMENT OPERATOR_NAME_INVALID, PASSWORD_INVALID; ALREADY_EXISTS OPERATOR_EXISTS, unless
 * the password is its own; RESOURCE_EXHAUSTED OPERATOR_LIMIT, LOGIN_BUSY.
 */
struct status operator_create(struct operators *operators, const char *name, const char *password,
                              const struct audit_actor *by, struct arena *arena,
                              Crownest__V1__Operator **ret_operator);
/* Ends all sessions. NOT_FOUND OPERATOR_NOT_FOUND, INVALID_ARGUMENT PASSWORD_INVALID. */
struct status operator_set_password(struct operators *operators, const char *name,
                                    const char *password, const struct audit_actor *by,
                                    struct arena *arena, Crownest__V1__Operator **ret_operator);
/* Ends all sessions. NOT_FOUND OPERATOR_NOT_FOUND. */
struct status operator_delete(struct operators *operators, const char *name,
                              const struct audit_actor *by, struct arena *arena);
/* request_id: of the call. UNAUTHENTICATED LOGIN_FAILED; RESOURCE_EXHAUSTED LOGIN_RATE, LOGIN_BUSY.
 */
struct status operator_login(struct operators *operators, const char *name, const char *password,
                             uint64_t ttl_ms, const char *request_id, struct arena *arena,
                             char ret_token[SECRET_SIZE],
                             Crownest__Records__SessionRecord **ret_session);
/* Ends a session, or with NULL all of the operator. */
struct status operator_logout(struct operators *operators, const char *name, const char *session_id,
                              const struct audit_actor *by);
