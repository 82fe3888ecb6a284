/* Who calls, and may they: the engine asks before any handler sees the request. */
#pragma once

#include "server/policy/key_use.h"
#include "server/policy/operator.h"
#include "server/rpc/rpc.h"
#include "server/store/store.h"

/* What is looked at. All of it outlives it. */
struct authority {
    struct store *store;
    struct key_uses *uses;
    struct operators *operators;
};

/*
 * A peer of the unix socket without a key is an operator, acting in the project that the metadata
 * `x-crownest-project` names (an id or a name; absent: `default`). So is who sends the token of a
 * session, as `authorization: Bearer cns_…`. Everybody else needs a key, as `Bearer cnk_…`, that
 * holds the method's scope; one that is tied to no project acts in the one that is named. Where a
 * method is for anyone nothing is looked at.
 * Errors: UNAUTHENTICATED KEY_MISSING and those of key_authenticate and session_find;
 * PERMISSION_DENIED SCOPE_MISSING, OPERATOR_ONLY; NOT_FOUND PROJECT_NOT_FOUND.
 */
struct status authorize(const struct authority *authority, struct rpc_call *call, bool local,
                        struct rpc_caller *ret_caller);

/* Whether who was authorized has not expired since; an rpc_recheck_fn. */
struct status authorize_still(void *arg, const struct rpc_caller *caller);
