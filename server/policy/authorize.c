#include "server/policy/authorize.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "server/policy/key.h"
#include "server/policy/project.h"
#include "server/policy/session.h"
#include "server/util/clock.h"
#include "server/util/prototime.h"

#define BEARER "Bearer "

/* The project that a caller who is not tied to one acts in. */
static struct status choose_project(struct store *store, struct rpc_call *call,
                                    char ret_id[ID_SIZE])
{
    const char *project = rpc_call_metadata(call, "x-crownest-project");

    return project_resolve(store, project ? project : "", ret_id);
}

static struct status authorize_local(const struct authority *authority, struct rpc_call *call,
                                     struct rpc_caller *caller)
{
    caller->operator= true;
    (void)snprintf(caller->actor, sizeof(caller->actor), "operator:" OPERATOR_LOCAL);
    return choose_project(authority->store, call, caller->project_id);
}

static struct status authorize_session(const struct authority *authority, struct rpc_call *call,
                                       const char *token, struct rpc_caller *caller)
{
    Crownest__Records__SessionRecord *session;
    struct status status = session_find(authority->store, token, rpc_call_arena(call), &session);

    if (!status_is_ok(&status))
        return status;
    caller->operator= true;
    caller->expire_ms = session->expire_ms;
    (void)snprintf(caller->session_id, sizeof(caller->session_id), "%s", session->session_id);
    (void)snprintf(caller->actor, sizeof(caller->actor), "operator:%s", session->name);
    return choose_project(authority->store, call, caller->project_id);
}

static struct status check_audience(const struct rpc_method *method, const Crownest__V1__Key *key)
{
    if (method->audience == RPC_AUDIENCE_ANY_KEY)
        return STATUS_OK_VALUE;
    if (method->audience == RPC_AUDIENCE_OPERATOR)
        return status_error(STATUS_PERMISSION_DENIED, "OPERATOR_ONLY",
                            "%s is for operators: on the local socket, or after crownest login",
                            method->name);
    if (!key_has_scope(key, method->scope))
        return status_error(STATUS_PERMISSION_DENIED, "SCOPE_MISSING",
                            "%s needs a key with the scope %s", method->name, method->scope);
    return STATUS_OK_VALUE;
}

static struct status authorize_key(const struct authority *authority, struct rpc_call *call,
                                   const char *secret, struct rpc_caller *caller)
{
    Crownest__V1__Key *key;
    struct status status = key_authenticate(authority->store, secret, rpc_call_arena(call), &key);

    if (!status_is_ok(&status))
        return status;
    (void)snprintf(caller->key_id, sizeof(caller->key_id), "%s", key->key_id);
    (void)snprintf(caller->actor, sizeof(caller->actor), "%s", key->key_id);
    (void)snprintf(caller->project_id, sizeof(caller->project_id), "%s", key->project_id);
    caller->expire_ms = prototime_ms(key->expire_time);
    key_uses_note(authority->uses, key->key_id, clock_wall_ms());
    status = check_audience(rpc_call_method(call), key);
    if (status_is_ok(&status) && caller->project_id[0] == '\0')
        status = choose_project(authority->store, call, caller->project_id);
    return status;
}

static struct status authorize_bearer(const struct authority *authority, struct rpc_call *call,
                                      const char *header, struct rpc_caller *caller)
{
    const char *secret = header + sizeof(BEARER) - 1;

    if (strncasecmp(header, BEARER, sizeof(BEARER) - 1) != 0)
        return status_error(STATUS_UNAUTHENTICATED, "KEY_INVALID",
                            "the authorization metadata is not of the form `Bearer cnk_…`");
    if (strncmp(secret, SESSION_PREFIX, sizeof(SESSION_PREFIX) - 1) == 0)
        return authorize_session(authority, call, secret, caller);
    return authorize_key(authority, call, secret, caller);
}

struct status authorize(const struct authority *authority, struct rpc_call *call, bool local,
                        struct rpc_caller *ret_caller)
{
    const char *header = rpc_call_metadata(call, "authorization");
    struct rpc_caller caller = {.actor = "anonymous"};
    struct status status = STATUS_OK_VALUE;

    if (rpc_call_method(call)->audience == RPC_AUDIENCE_ANYONE)
        ;
    else if (header)
        status = authorize_bearer(authority, call, header, &caller);
    else if (local)
        status = authorize_local(authority, call, &caller);
    else
        status = status_error(STATUS_UNAUTHENTICATED, "KEY_MISSING",
                              "send a key as metadata `authorization: Bearer cnk_…`");
    /* Who was refused is known too, as far as it goes: for the record of the refusal. */
    *ret_caller = caller;
    return status;
}

struct status authorize_still(void *arg, const struct rpc_caller *caller)
{
    (void)arg;
    if (caller->expire_ms == 0 || clock_wall_ms() <= caller->expire_ms)
        return STATUS_OK_VALUE;
    return caller->session_id[0] ? session_expired() : key_expired();
}
