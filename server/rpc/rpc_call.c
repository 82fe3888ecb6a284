/* What handlers may ask of their call. */
#include <grpc/slice.h>
#include <stdlib.h>
#include <string.h>

#include "server/rpc/call.h"
#include "server/rpc/engine.h"
#include "server/util/limits.h"

void *rpc_call_context(const struct rpc_call *call)
{
    return call->listener->server->options.context;
}

struct rpc_server *rpc_call_server(const struct rpc_call *call)
{
    return call->listener->server;
}

struct arena *rpc_call_arena(struct rpc_call *call)
{
    if (!call->arena)
        call->arena = arena_new(LIMIT_CALL_ARENA + call->route->method->max_request_bytes);
    return call->arena;
}

const struct rpc_caller *rpc_call_caller(const struct rpc_call *call)
{
    return &call->caller;
}

const char *rpc_call_request_id(const struct rpc_call *call)
{
    return call->request_id;
}

const struct rpc_method *rpc_call_method(const struct rpc_call *call)
{
    return call->route->method;
}

struct bytes rpc_call_request_bytes(const struct rpc_call *call)
{
    return bytes_of(GRPC_SLICE_START_PTR(call->request), GRPC_SLICE_LENGTH(call->request));
}

const char *rpc_call_metadata(struct rpc_call *call, const char *name)
{
    for (size_t i = 0; i < call->metadata.count; i++) {
        const grpc_metadata *entry = &call->metadata.metadata[i];

        if (grpc_slice_str_cmp(entry->key, name) != 0)
            continue;
        size_t size = GRPC_SLICE_LENGTH(entry->value);

        return memcpy(arena_alloc(rpc_call_arena(call), size + 1),
                      GRPC_SLICE_START_PTR(entry->value), size);
    }
    return NULL;
}

void rpc_call_set_metadata(struct rpc_call *call, const char *name, const char *value)
{
    if (call->extra_count == RPC_METADATA_MAX)
        return;
    call->extra[call->extra_count++] = (grpc_metadata){
        .key = grpc_slice_from_static_string(name), .value = grpc_slice_from_copied_string(value)};
}

bool rpc_call_cancelled(const struct rpc_call *call)
{
    return atomic_load(&call->cancelled);
}
