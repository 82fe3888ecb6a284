/* How gRPC is told to treat connections. Private to the engine. */
#pragma once

#include <grpc/grpc.h>

#define CHANNEL_ARGS_MAX 16

struct channel_args {
    grpc_channel_args args; /* passed to grpc_server_create, which copies it */
    grpc_arg list[CHANNEL_ARGS_MAX];
    grpc_resource_quota *quota;
};

/* largest_request: of any method. */
void channel_args_init(struct channel_args *args, uint32_t largest_request);
void channel_args_done(struct channel_args *args);
