/* A method of the contract without a handler stops the build here. */
#include <stdio.h>

#include "server/service/service.h"

struct audit_actor service_actor(const struct rpc_call *call)
{
    const struct rpc_caller *caller = rpc_call_caller(call);
    struct audit_actor actor = {0};

    (void)snprintf(actor.id, sizeof(actor.id), "%s",
                   caller->actor[0] ? caller->actor : "anonymous");
    (void)snprintf(actor.request_id, sizeof(actor.request_id), "%s", rpc_call_request_id(call));
    return actor;
}

struct status service_answer(struct rpc_call *call, struct status status)
{
    if (status.code == STATUS_RESOURCE_EXHAUSTED || status.code == STATUS_PERMISSION_DENIED ||
        status.quota.metric)
        service_denied(call, &status);
    return status;
}

#define DEFINE_UNARY(id, name, request_type, response_type)                                        \
    static struct status call_##name(struct rpc_call *call, const void *request, void *response)   \
    {                                                                                              \
        return service_answer(call, service_##name(call, request, response));                      \
    }

RPC_UNARY_METHODS(DEFINE_UNARY)

#define UNARY_ENTRY(id, name, request_type, response_type) [id] = {.unary = call_##name},
#define SERVER_STREAM_ENTRY(id, name, request_type, response_type)                                 \
    [id] = {.server_stream = &service_##name},
#define CLIENT_STREAM_ENTRY(id, name, request_type, response_type)                                 \
    [id] = {.client_stream = &service_##name},

static const struct rpc_handler handlers[RPC_METHOD_COUNT] = {
    RPC_UNARY_METHODS(UNARY_ENTRY) RPC_SERVER_STREAM_METHODS(SERVER_STREAM_ENTRY)
        RPC_CLIENT_STREAM_METHODS(CLIENT_STREAM_ENTRY)};

const struct rpc_handler *service_handlers(void)
{
    return handlers;
}
