/* A method of the contract without a handler stops the build here. */
#include "server/service/service.h"

#define DEFINE_UNARY(id, name, request_type, response_type)                                        \
    static struct status call_##name(struct rpc_call *call, const void *request, void *response)   \
    {                                                                                              \
        return service_##name(call, request, response);                                            \
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
