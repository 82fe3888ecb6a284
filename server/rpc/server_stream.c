/*
 * Server streams pull. A message is asked for when the one before it was taken by the connection,
 * so a reader that does not read holds up nothing but its own cursor. Small messages that are ready
 * together share a write: the next one is pulled ahead to know whether there is one.
 *
 * Once opened, everything here runs on the thread of the call's queue.
 */
#include <stdlib.h>

#include "server/rpc/call.h"

#define PULL_AHEAD_BYTES (16U << 10) /* larger messages are worth a write of their own */

static void pump(struct rpc_call *call);

static void on_sent(struct rpc_call *call, bool ok)
{
    if (ok && !rpc_call_cancelled(call))
        pump(call);
    else
        call_end(call);
}

static grpc_byte_buffer *pull(struct rpc_call *call)
{
    ProtobufCMessage *response = call_response(call);
    grpc_byte_buffer *message = NULL;
    struct status status = STATUS_OK_VALUE;

    switch (call->route->handler.server_stream->pull(call, call->state, response, &status)) {
    case RPC_PULL_MESSAGE:
        message = call_pack(response);
        break;
    case RPC_PULL_WAIT:
        break;
    case RPC_PULL_END:
        call->ended = true;
        call->end_status = malloc(sizeof(*call->end_status));
        if (!call->end_status)
            abort();
        *call->end_status = status;
        break;
    }
    arena_reset(rpc_call_arena(call));
    return message;
}

/* Waiting streams are many: none of them keeps an arena. */
static void wait_for_wake(struct rpc_call *call)
{
    arena_free(call->arena);
    call->arena = NULL;
    if (rpc_call_cancelled(call))
        call_end(call);
    else
        call->waiting = true;
}

/* What was pulled ahead is not for the caller any more. */
static void end_cut(struct rpc_call *call, const struct status *status)
{
    grpc_byte_buffer_destroy(call->next);
    call->next = NULL;
    call_finish(call, status, NULL);
}

static void pump(struct rpc_call *call)
{
    const struct status *cut = atomic_load(&call->cut);
    grpc_byte_buffer *message = call->next;

    if (cut) {
        end_cut(call, cut);
        return;
    }
    call->next = NULL;
    if (!message && !call->ended)
        message = pull(call);
    if (message && grpc_byte_buffer_length(message) < PULL_AHEAD_BYTES && !call->ended)
        call->next = pull(call);
    if (call->ended && !call->next)
        call_finish(call, call->end_status, message);
    else if (message)
        call_send(call, message, call->next ? GRPC_WRITE_BUFFER_HINT : 0, on_sent);
    else
        wait_for_wake(call);
}

void server_stream_woken(struct rpc_call *call)
{
    call->waiting = false;
    pump(call);
}

void server_stream_cancelled(struct rpc_call *call)
{
    call->waiting = false;
    call_end(call);
}

static void on_headers_sent(struct rpc_call *call, bool ok)
{
    /* open is over: what it needed of the request goes, the stream may live for hours. */
    call_drop_message(call);
    on_sent(call, ok);
}

static void open_for_caller(struct rpc_call *call)
{
    ProtobufCMessage *request;

    if (rpc_call_cancelled(call)) {
        call_leave(call);
        call_end(call);
        return;
    }
    struct status status = call_decode(call, &request);

    if (status_is_ok(&status))
        status = call->route->handler.server_stream->open(call, request, &call->state);
    call_leave(call);
    if (!status_is_ok(&status)) {
        call_finish(call, &status, NULL);
        return;
    }
    call->opened = true;
    arena_reset(rpc_call_arena(call));
    call_send(call, NULL, 0, on_headers_sent);
}

static void open_stream(struct rpc_call *call)
{
    struct status status;

    if (rpc_call_cancelled(call)) {
        call_end(call);
        return;
    }
    status = call_authorize(call);
    if (status_is_ok(&status))
        call_work_as_caller(call, open_for_caller);
    else
        call_finish(call, &status, NULL);
}

static void on_request(struct rpc_call *call, bool ok)
{
    if (!ok || !call->received)
        call_end(call);
    else
        call_work(call, open_stream);
}

void server_stream_start(struct rpc_call *call)
{
    call_receive(call, on_request);
}
