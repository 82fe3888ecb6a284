#include "server/rpc/channel_args.h"

#include "server/util/limits.h"

#define IDLE_MS (30 * 60 * 1000) /* a connection without calls */
#define KEEPALIVE_MS (60 * 1000) /* we ask a silent peer whether it is there */
#define KEEPALIVE_TIMEOUT_MS (20 * 1000)
#define PEER_PING_MS (10 * 1000) /* the shortest time between a peer's own pings */
#define PEER_PING_STRIKES 3      /* more often than that ends the connection */

static void add_int(struct channel_args *args, const char *key, int value)
{
    args->list[args->args.num_args++] = (grpc_arg){
        .type = GRPC_ARG_INTEGER,
        .key = (char *)(uintptr_t)key,
        .value.integer = value,
    };
}

/* One quota for both servers: their buffers together are bounded. */
static void add_quota(struct channel_args *args)
{
    args->quota = grpc_resource_quota_create("connections");
    grpc_resource_quota_resize(args->quota, LIMIT_RPC_BYTES);
    args->list[args->args.num_args++] = (grpc_arg){
        .type = GRPC_ARG_POINTER,
        .key = (char *)(uintptr_t)GRPC_ARG_RESOURCE_QUOTA,
        .value.pointer = {.p = args->quota, .vtable = grpc_resource_quota_arg_vtable()},
    };
}

void channel_args_init(struct channel_args *args, uint32_t largest_request)
{
    *args = (struct channel_args){.args = {.args = args->list}};
    add_quota(args);
    /* gRPC's own refusal carries no reason of ours, so it begins above each method's bound. */
    add_int(args, GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, (int)(2 * largest_request));
    add_int(args, GRPC_ARG_MAX_METADATA_SIZE, LIMIT_METADATA_BYTES);
    add_int(args, GRPC_ARG_MAX_CONCURRENT_STREAMS, LIMIT_STREAMS_PER_CONNECTION);
    add_int(args, GRPC_ARG_MAX_CONNECTION_IDLE_MS, IDLE_MS);
    add_int(args, GRPC_ARG_KEEPALIVE_TIME_MS, KEEPALIVE_MS);
    add_int(args, GRPC_ARG_KEEPALIVE_TIMEOUT_MS, KEEPALIVE_TIMEOUT_MS);
    add_int(args, GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    add_int(args, GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, PEER_PING_MS);
    add_int(args, GRPC_ARG_HTTP2_MAX_PING_STRIKES, PEER_PING_STRIKES);
    /* Statistics that nobody reads, kept for each connection and call. */
    add_int(args, GRPC_ARG_ENABLE_CHANNELZ, 0);
}

void channel_args_done(struct channel_args *args)
{
    grpc_resource_quota_unref(args->quota);
}
