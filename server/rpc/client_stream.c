/*
 * Client streams: the next message is asked for only when the handler is done with the one before,
 * so that the connection's flow control holds a fast sender back.
 */
#include "server/rpc/call.h"

/*
 * Who ends the stream when it is cut. While it waits for a message, the status is sent at once,
 * and the end of the wait, which follows from that, is the end of the call. Otherwise the step
 * under way sees to it.
 */
enum { TURN_STEP, TURN_WAITING, TURN_SAID };

static void on_message(struct rpc_call *call, bool ok);

void client_stream_cut(struct rpc_call *call)
{
    int waiting = TURN_WAITING;

    if (atomic_compare_exchange_strong(&call->turn, &waiting, TURN_SAID))
        call_say_end(call, atomic_load(&call->cut));
}

static void receive_next(struct rpc_call *call)
{
    /* The message may come, and the call end, before we are back. */
    call_ref(call);
    atomic_store(&call->turn, TURN_WAITING);
    call_receive(call, on_message);
    if (atomic_load(&call->cut))
        client_stream_cut(call);
    call_unref(call);
}

static bool ended_by_cut(struct rpc_call *call)
{
    const struct status *cut = atomic_load(&call->cut);

    if (!cut)
        return false;
    call_leave(call);
    call_finish(call, cut, NULL);
    return true;
}

static void finish_for_caller(struct rpc_call *call)
{
    if (ended_by_cut(call))
        return;
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

    if (ended_by_cut(call))
        return;
    struct status status = call_decode(call, &request);

    if (status_is_ok(&status))
        status = call->route->handler.client_stream->message(call, call->state, request);
    call_leave(call);
    if (!status_is_ok(&status)) {
        call_finish(call, &status, NULL);
        return;
    }
    arena_reset(rpc_call_arena(call));
    receive_next(call);
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
    if (atomic_exchange(&call->turn, TURN_STEP) == TURN_SAID)
        call_end(call);
    else if (call->received)
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
    receive_next(call);
}

void client_stream_start(struct rpc_call *call)
{
    call_work(call, open_stream);
}
