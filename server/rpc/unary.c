/* Unary calls: receive, work, answer. */
#include "server/rpc/call.h"

static void answer(struct rpc_call *call)
{
    ProtobufCMessage *request;
    ProtobufCMessage *response = NULL;
    struct status status = call_decode(call, &request);

    if (status_is_ok(&status)) {
        response = call_response(call);
        status = call->route->handler.unary(call, request, response);
    }
    call_leave(call);
    call_finish(call, &status, status_is_ok(&status) ? call_pack(response) : NULL);
}

static void answer_unless_cancelled(struct rpc_call *call)
{
    if (!rpc_call_cancelled(call)) {
        answer(call);
        return;
    }
    call_leave(call);
    call_end(call);
}

static void work(struct rpc_call *call)
{
    struct status status;

    if (rpc_call_cancelled(call)) {
        call_end(call);
        return;
    }
    status = call_authorize(call);
    if (status_is_ok(&status))
        call_work_as_caller(call, answer_unless_cancelled);
    else
        call_finish(call, &status, NULL);
}

static void on_request(struct rpc_call *call, bool ok)
{
    /* Nothing came: the client went away before it asked anything. */
    if (!ok || !call->received)
        call_end(call);
    else
        call_work(call, work);
}

void unary_start(struct rpc_call *call)
{
    call_receive(call, on_request);
}
