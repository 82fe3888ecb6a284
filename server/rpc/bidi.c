/* Streams of questions, each answered before the next is read. */
#include "server/rpc/call.h"

static void on_question(struct rpc_call *call, bool ok);

static void on_answered(struct rpc_call *call, bool ok)
{
    arena_reset(rpc_call_arena(call));
    if (ok)
        call_receive(call, on_question);
    else
        call_end(call);
}

static void answer(struct rpc_call *call)
{
    ProtobufCMessage *request, *response;
    struct status status = call_decode(call, &request);

    if (status_is_ok(&status)) {
        response = call_response(call);
        status = call->route->bidi(call, request, response);
    }
    if (status_is_ok(&status))
        call_send(call, call_pack(response), 0, on_answered);
    else
        call_finish(call, &status, NULL);
}

static void on_question(struct rpc_call *call, bool ok)
{
    if (!ok) {
        call_end(call);
    } else if (call->received) {
        call_work(call, answer);
    } else {
        call_finish(call, &STATUS_OK_VALUE, NULL);
    }
}

void bidi_start(struct rpc_call *call)
{
    call_receive(call, on_question);
}
