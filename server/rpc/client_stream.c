/*
 * Client streams: the next message is asked for only when the handler is done with the one before,
 * so that the connection's flow control holds a fast sender back.
 */
#include "server/rpc/call.h"

static void on_message(struct rpc_call *call, bool ok);

static void finish_for_caller(struct rpc_call *call)
{
    ProtobufCMessage *response = call_response(call);
    struct status status = call->route->handler.client_stream->finish(call, call->state, response);

    call_leave(call);
    call_finish(call, &status, status_is_ok(&status) ? call_pack(response) : NULL);
}

static void finish(struct rpc_call *call)
{
    call_work_as_caller(call, finish_for_caller);
}

static void message_for_caller(struct rpc_call *call)
{
    ProtobufCMessage *request;
    struct status status = call_decode(call, &request);

    if (status_is_ok(&status))
        status = call->route->handler.client_stream->message(call, call->state, request);
    call_leave(call);
    if (!status_is_ok(&status)) {
        call_finish(call, &status, NULL);
        return;
    }
    arena_reset(rpc_call_arena(call));
    call_receive(call, on_message);
}

static void message(struct rpc_call *call)
{
    call_work_as_caller(call, message_for_caller);
}

/* A stream that was cut ends like one that was closed, without a message. Only gRPC knows which it
 * was; half an upload must never pass for a whole one. */
static bool was_cut(struct rpc_call *call, bool ok)
{
    return !ok || rpc_call_cancelled(call) || grpc_call_failed_before_recv_message(call->grpc);
}

static void on_message(struct rpc_call *call, bool ok)
{
    if (call->received)
        call_work(call, message);
    else if (was_cut(call, ok))
        call_end(call);
    else
        call_work(call, finish);
}

static void open_stream(struct rpc_call *call)
{
    struct status status = call_authorize(call);

    if (status_is_ok(&status))
        status = call->route->handler.client_stream->open(call, &call->state);
    if (!status_is_ok(&status)) {
        call_finish(call, &status, NULL);
        return;
    }
    call->opened = true;
    arena_reset(rpc_call_arena(call));
    call_receive(call, on_message);
}

void client_stream_start(struct rpc_call *call)
{
    call_work(call, open_stream);
}
