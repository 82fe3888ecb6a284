#include "server/policy/authorize.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "server/policy/key.h"
#include "server/policy/project.h"

#define BEARER "Bearer "

static struct status authorize_operator(struct store *store, struct rpc_call *call,
                                        struct rpc_caller *ret_caller)
{
    const char *project = rpc_call_metadata(call, "x-crownest-project");
    struct rpc_caller caller = {.operator= true };
    struct status status = project_resolve(store, project ? project : "", caller.project_id);

    if (status_is_ok(&status))
        *ret_caller = caller;
    return status;
}

static struct status check_audience(const struct rpc_method *method, const Crownest__V1__Key *key)
{
    if (method->audience == RPC_AUDIENCE_ANY_KEY)
        return STATUS_OK_VALUE;
    if (method->audience == RPC_AUDIENCE_OPERATOR)
        return status_error(STATUS_PERMISSION_DENIED, "OPERATOR_ONLY",
                            "%s is for operators, on the local socket", method->name);
    if (!key_has_scope(key, method->scope))
        return status_error(STATUS_PERMISSION_DENIED, "SCOPE_MISSING",
                            "%s needs a key with the scope %s", method->name, method->scope);
    return STATUS_OK_VALUE;
}

static struct status authorize_key(struct store *store, struct rpc_call *call, const char *header,
                                   struct rpc_caller *ret_caller)
{
    Crownest__V1__Key *key;
    const char *secret = header + sizeof(BEARER) - 1;

    if (strncasecmp(header, BEARER, sizeof(BEARER) - 1) != 0)
        return status_error(STATUS_UNAUTHENTICATED, "KEY_INVALID",
                            "the authorization metadata is not of the form `Bearer cnk_…`");
    struct status status = key_authenticate(store, secret, rpc_call_arena(call), &key);

    if (status_is_ok(&status))
        status = check_audience(rpc_call_method(call), key);
    if (!status_is_ok(&status))
        return status;
    struct rpc_caller caller = {0};

    (void)snprintf(caller.project_id, sizeof(caller.project_id), "%s", key->project_id);
    (void)snprintf(caller.key_id, sizeof(caller.key_id), "%s", key->key_id);
    *ret_caller = caller;
    return STATUS_OK_VALUE;
}

struct status authorize(struct store *store, struct rpc_call *call, bool local,
                        struct rpc_caller *ret_caller)
{
    const char *header = rpc_call_metadata(call, "authorization");

    if (header)
        return authorize_key(store, call, header, ret_caller);
    if (local)
        return authorize_operator(store, call, ret_caller);
    return status_error(STATUS_UNAUTHENTICATED, "KEY_MISSING",
                        "send a key as metadata `authorization: Bearer cnk_…`");
}
