/* Who calls, and may they: the engine asks before any handler sees the request. */
#pragma once

#include "server/rpc/rpc.h"
#include "server/store/store.h"

/*
 * A peer of the unix socket without a key is an operator, acting in the project that the metadata
 * `x-crownest-project` names (an id or a name; absent: `default`). Everybody else needs a key, as
 * `authorization: Bearer cnk_…`, that holds the method's scope.
 * Errors: UNAUTHENTICATED KEY_MISSING and those of key_authenticate; PERMISSION_DENIED
 * SCOPE_MISSING, OPERATOR_ONLY; NOT_FOUND PROJECT_NOT_FOUND.
 */
struct status authorize(struct store *store, struct rpc_call *call, bool local,
                        struct rpc_caller *ret_caller);
