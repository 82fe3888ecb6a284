#include "server/rpc/call.h"

#include <grpc/byte_buffer_reader.h>
#include <grpc/support/log.h>
#include <stdlib.h>
#include <string.h>

#include "server/rpc/decode.h"
#include "server/util/limits.h"

#define REQUEST_ID_KEY "x-crownest-request-id"
#define DETAILS_KEY "grpc-status-details-bin"

/* A batch is refused only for a mistake of ours, after which the call's state is unknown. */
static void start_batch(struct rpc_call *call, const grpc_op *ops, size_t count, struct tag *tag)
{
    if (grpc_call_start_batch(call->grpc, ops, count, tag, NULL) != GRPC_CALL_OK)
        abort();
}

void call_ref(struct rpc_call *call)
{
    (void)atomic_fetch_add_explicit(&call->refs, 1, memory_order_relaxed);
}

static void call_free(struct rpc_call *call)
{
    struct rpc_server *server = call->listener->server;

    call_drop_message(call);
    grpc_byte_buffer_destroy(call->next);
    free(call->end_status);
    free(atomic_load(&call->cut));
    arena_free(call->arena);
    if (call->wire_made)
        status_wire_done(&call->wire);
    grpc_slice_unref(call->initial_value);
    for (size_t i = 0; i < call->extra_count; i++)
        grpc_slice_unref(call->extra[i].value);
    if (!call->listener->route)
        grpc_call_details_destroy(&call->details);
    grpc_metadata_array_destroy(&call->metadata);
    if (call->grpc)
        grpc_call_unref(call->grpc);
    free(call);
    engine_call_gone(server);
}

void call_unref(struct rpc_call *call)
{
    if (atomic_fetch_sub_explicit(&call->refs, 1, memory_order_acq_rel) == 1)
        call_free(call);
}

/* Coming in */

static void on_close(void *owner, bool ok)
{
    struct rpc_call *call = owner;

    (void)ok;
    if (call->close_cancelled) {
        atomic_store(&call->cancelled, true);
        if (call->waiting)
            server_stream_cancelled(call);
    }
    call_unref(call);
}

static void watch_close(struct rpc_call *call)
{
    grpc_op op = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};

    op.data.recv_close_on_server.cancelled = &call->close_cancelled;
    call->tag_close = (struct tag){on_close, call};
    call_ref(call);
    start_batch(call, &op, 1, &call->tag_close);
}

static bool admit(struct rpc_call *call)
{
    struct rpc_server *server = call->listener->server;
    bool stream = call->route->method->client_streaming || call->route->method->server_streaming;
    atomic_uint *count = stream ? &server->streams_running : &server->unary_running;
    unsigned limit = stream ? LIMIT_STREAMS : LIMIT_CALLS_RUNNING;

    if (atomic_fetch_add(count, 1) < limit) {
        call->counted = true;
        return true;
    }
    (void)atomic_fetch_sub(count, 1);
    return false;
}

static void discharge(struct rpc_call *call)
{
    struct rpc_server *server = call->listener->server;
    const struct rpc_method *method = call->route ? call->route->method : NULL;

    if (!call->counted)
        return;
    call->counted = false;
    (void)atomic_fetch_sub(method->client_streaming || method->server_streaming
                               ? &server->streams_running
                               : &server->unary_running,
                           1);
}

static void refuse_unknown(struct rpc_call *call)
{
    struct status status =
        status_error(STATUS_UNIMPLEMENTED, "METHOD_UNKNOWN", "this server has no method %.*s",
                     (int)(GRPC_SLICE_LENGTH(call->details.method) < 128
                               ? GRPC_SLICE_LENGTH(call->details.method)
                               : 128),
                     (const char *)GRPC_SLICE_START_PTR(call->details.method));

    call_finish(call, &status, NULL);
}

static void refuse_overload(struct rpc_call *call)
{
    struct status status =
        status_error(STATUS_RESOURCE_EXHAUSTED, "SERVER_BUSY",
                     "the server is working on as many calls as it may; try again");

    status.retryable = true;
    status.retry_after_ms = 200;
    call_finish(call, &status, NULL);
}

static void start(struct rpc_call *call)
{
    const struct rpc_method *method = call->route->method;

    call->job.lane = call->route->lane;
    if (call->route->bidi)
        bidi_start(call);
    else if (method->client_streaming)
        client_stream_start(call);
    else if (method->server_streaming)
        server_stream_start(call);
    else
        unary_start(call);
}

static void on_new(void *owner, bool ok)
{
    struct rpc_call *call = owner;

    /* Not ok: the server is shutting down and this one waits no longer. */
    if (!ok) {
        call_unref(call);
        return;
    }
    call_request(call->listener);
    call->local = call->listener->local;
    id_make("req_", call->request_id);
    call->route = call->listener->route;
    if (!call->route)
        call->route =
            engine_find(call->listener->server, bytes_of(GRPC_SLICE_START_PTR(call->details.method),
                                                         GRPC_SLICE_LENGTH(call->details.method)));
    watch_close(call);
    if (!call->route)
        refuse_unknown(call);
    else if (!admit(call))
        refuse_overload(call);
    else
        start(call);
}

void call_request(struct listener *listener)
{
    struct rpc_server *server = listener->server;

    if (engine_draining(server))
        return;
    struct rpc_call *call = calloc(1, sizeof(*call));
    grpc_call_error error;

    if (!call)
        abort();
    call->listener = listener;
    atomic_init(&call->refs, 1);
    call->request = grpc_empty_slice();
    call->initial_value = grpc_empty_slice();
    call->job.owner = call;
    call->tag_new = (struct tag){on_new, call};
    grpc_metadata_array_init(&call->metadata);
    engine_call_made(server);
    if (listener->route) {
        call->bound = engine_next_stream_queue(server);
        error = grpc_server_request_registered_call(
            listener->grpc, listener->registered, &call->grpc, &call->deadline, &call->metadata,
            NULL, call->bound, listener->notify->cq, &call->tag_new);
    } else {
        call->bound = listener->notify->cq;
        grpc_call_details_init(&call->details);
        error =
            grpc_server_request_call(listener->grpc, &call->grpc, &call->details, &call->metadata,
                                     call->bound, listener->notify->cq, &call->tag_new);
    }
    if (error != GRPC_CALL_OK)
        abort();
}

/* Steps */

static void on_receive(void *owner, bool ok)
{
    struct rpc_call *call = owner;

    call->on_message(call, ok);
}

void call_receive(struct rpc_call *call, void (*on_message)(struct rpc_call *call, bool ok))
{
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};

    call_drop_message(call);
    op.data.recv_message.recv_message = &call->received;
    call->on_message = on_message;
    call->tag_receive = (struct tag){on_receive, call};
    start_batch(call, &op, 1, &call->tag_receive);
}

static void run_job(void *owner)
{
    struct rpc_call *call = owner;

    call->on_job(call);
}

void call_work(struct rpc_call *call, void (*on_job)(struct rpc_call *call))
{
    call->on_job = on_job;
    call->job.run = run_job;
    pool_submit(call->listener->server->pool, &call->job);
}

/* Health and reflection are for nobody in particular, and do not block. */
void call_work_as_caller(struct rpc_call *call, void (*on_job)(struct rpc_call *call))
{
    struct pool *pool = call->listener->server->pool;
    const char *project = call->caller.project_id;

    call->on_job = on_job;
    if (project[0] == '\0' || pool_enter(pool, &call->job, project))
        on_job(call);
}

void call_leave(struct rpc_call *call)
{
    const char *project = call->caller.project_id;

    if (project[0] != '\0')
        pool_leave(call->listener->server->pool, project);
}

static void on_send(void *owner, bool ok)
{
    struct rpc_call *call = owner;

    call->on_sent(call, ok);
}

/* Returns how many they are. */
static size_t copy_extra(const struct rpc_call *call, grpc_metadata to[RPC_METADATA_MAX])
{
    memcpy(to, call->extra, call->extra_count * sizeof(*to));
    return call->extra_count;
}

/* Adds the initial metadata where it has not been sent yet. */
static size_t add_initial(struct rpc_call *call, grpc_op *ops, bool refused,
                          grpc_metadata metadata[1 + RPC_METADATA_MAX])
{
    if (call->initial_sent)
        return 0;
    call->initial_sent = true;
    call->initial_value = grpc_slice_from_copied_string(call->request_id);
    metadata[0] = (grpc_metadata){.key = grpc_slice_from_static_string(REQUEST_ID_KEY),
                                  .value = call->initial_value};
    *ops = (grpc_op){.op = GRPC_OP_SEND_INITIAL_METADATA};
    ops->data.send_initial_metadata.count = 1 + (refused ? 0 : copy_extra(call, metadata + 1));
    ops->data.send_initial_metadata.metadata = metadata;
    return 1;
}

static size_t add_message(grpc_op *op, grpc_byte_buffer *message, uint32_t flags)
{
    if (!message)
        return 0;
    *op = (grpc_op){.op = GRPC_OP_SEND_MESSAGE, .flags = flags};
    op->data.send_message.send_message = message;
    return 1;
}

void call_send(struct rpc_call *call, grpc_byte_buffer *message, uint32_t flags,
               void (*on_sent)(struct rpc_call *call, bool ok))
{
    grpc_op ops[2];
    grpc_metadata metadata[1 + RPC_METADATA_MAX];
    size_t count = add_initial(call, ops, false, metadata);

    count += add_message(&ops[count], message, flags);
    call->on_sent = on_sent;
    call->tag_send = (struct tag){on_send, call};
    start_batch(call, ops, count, &call->tag_send);
    grpc_byte_buffer_destroy(message);
}

static void on_finished(struct rpc_call *call, bool ok)
{
    (void)ok;
    call_end(call);
}

static void send_status(struct rpc_call *call, const struct status *status,
                        grpc_byte_buffer *message, void (*on_sent)(struct rpc_call *call, bool ok))
{
    grpc_op ops[3];
    grpc_metadata metadata[1 + RPC_METADATA_MAX];
    grpc_metadata trailing[1 + RPC_METADATA_MAX] = {
        {.key = grpc_slice_from_static_string(DETAILS_KEY)}};
    bool refused = !status_is_ok(status);
    size_t count = add_initial(call, ops, refused, metadata);

    status_wire_make(status, call->request_id, &call->wire);
    call->wire_made = true;
    trailing[0].value = call->wire.details;
    count += add_message(&ops[count], message, 0);
    ops[count] = (grpc_op){.op = GRPC_OP_SEND_STATUS_FROM_SERVER};
    ops[count].data.send_status_from_server.status = call->wire.code;
    ops[count].data.send_status_from_server.status_details = &call->wire.message;
    ops[count].data.send_status_from_server.trailing_metadata = trailing;
    ops[count].data.send_status_from_server.trailing_metadata_count =
        refused ? 1 + copy_extra(call, trailing + 1) : 0;
    count++;
    call->on_sent = on_sent;
    call->tag_send = (struct tag){on_send, call};
    start_batch(call, ops, count, &call->tag_send);
    grpc_byte_buffer_destroy(message);
}

void call_finish(struct rpc_call *call, const struct status *status, grpc_byte_buffer *message)
{
    send_status(call, status, message, on_finished);
}

static void on_said(struct rpc_call *call, bool ok)
{
    (void)ok;
    call_unref(call);
}

void call_say_end(struct rpc_call *call, const struct status *status)
{
    call_ref(call);
    send_status(call, status, NULL, on_said);
}

static void detach_waker(struct rpc_call *call)
{
    struct rpc_waker *waker = call->waker;

    if (!waker)
        return;
    (void)pthread_mutex_lock(&waker->mutex);
    waker->call = NULL;
    (void)pthread_mutex_unlock(&waker->mutex);
    call->waker = NULL;
    rpc_waker_unref(waker);
}

static void close_for_caller(struct rpc_call *call)
{
    call->route->handler.client_stream->close(call->state);
    call_leave(call);
    discharge(call);
    call_unref(call);
}

static void close_client_stream(struct rpc_call *call)
{
    call_work_as_caller(call, close_for_caller);
}

void call_end(struct rpc_call *call)
{
    bool opened = call->opened;

    roll_leave(call);
    detach_waker(call);
    call->opened = false;
    if (opened && call->route->method->client_streaming) {
        /* It may have a file to finish with: not on a queue's thread. */
        call_work(call, close_client_stream);
        return;
    }
    if (opened)
        call->route->handler.server_stream->close(call->state);
    discharge(call);
    call_unref(call);
}

/* Messages */

void call_drop_message(struct rpc_call *call)
{
    grpc_byte_buffer_destroy(call->received);
    call->received = NULL;
    grpc_slice_unref(call->request);
    call->request = grpc_empty_slice();
}

struct status call_take_message(struct rpc_call *call)
{
    uint32_t limit = call->route->method->max_request_bytes;
    grpc_byte_buffer_reader reader;

    if (grpc_byte_buffer_length(call->received) > limit)
        return status_error(STATUS_RESOURCE_EXHAUSTED, "REQUEST_TOO_LARGE",
                            "a request message of %s may have at most %u bytes",
                            call->route->method->name, limit);
    if (!grpc_byte_buffer_reader_init(&reader, call->received))
        return status_error(STATUS_INVALID_ARGUMENT, "REQUEST_MALFORMED",
                            "the request cannot be decompressed");
    grpc_slice *only;

    /* Small messages are in one piece already. */
    if (call->received->data.raw.slice_buffer.count == 1 &&
        grpc_byte_buffer_reader_peek(&reader, &only))
        call->request = grpc_slice_ref(*only);
    else
        call->request = grpc_byte_buffer_reader_readall(&reader);
    grpc_byte_buffer_reader_destroy(&reader);
    return STATUS_OK_VALUE;
}

struct status call_decode(struct rpc_call *call, ProtobufCMessage **ret_message)
{
    struct status status = call_take_message(call);

    if (!status_is_ok(&status))
        return status;
    return decode_message(call->route->method->input, rpc_call_request_bytes(call),
                          rpc_call_arena(call), ret_message);
}

struct status call_authorize(struct rpc_call *call)
{
    const struct rpc_server_options *options = &call->listener->server->options;

    if (call->route->open)
        return STATUS_OK_VALUE;
    if (call->route->method->client_streaming || call->route->method->server_streaming)
        return roll_admit(call);
    return options->authorize(options->context, call, call->local, &call->caller);
}

ProtobufCMessage *call_response(struct rpc_call *call)
{
    const ProtobufCMessageDescriptor *type = call->route->method->output;
    ProtobufCMessage *message = arena_alloc(rpc_call_arena(call), type->sizeof_message);

    type->message_init(message);
    return message;
}

grpc_byte_buffer *call_pack(const ProtobufCMessage *message)
{
    grpc_slice slice = grpc_slice_malloc(protobuf_c_message_get_packed_size(message));

    (void)protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(slice));
    grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);

    grpc_slice_unref(slice);
    return buffer;
}
