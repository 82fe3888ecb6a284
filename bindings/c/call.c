#include "bindings/c/call.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/support/alloc.h>
#include <grpc/support/time.h>

#include "bindings/c/channel.h"
#include "bindings/c/error.h"

#define UNARY_DEADLINE_MS 60000
#define METADATA_PREFIX "x-crownest-"

/* What a batch was for; the address of its place in `pending` is its tag. */
enum batch {
    BATCH_OPEN,   /* initial metadata, and the request when there is just one */
    BATCH_HEADER, /* the server's initial metadata */
    BATCH_STATUS,
    BATCH_SEND,
    BATCH_RECEIVE,
    BATCH_COUNT
};

struct crownest_stream {
    grpc_call *call;
    grpc_completion_queue *queue;
    bool pending[BATCH_COUNT]; /* started and not yet plucked */
    bool has_status;
    grpc_metadata_array header;
    grpc_metadata_array trailer;
    grpc_status_code code;
    grpc_slice message;
    grpc_byte_buffer *received;
    struct crownest_call_options options;
    bool told; /* its metadata, to options.metadata */
};

static int pack(const ProtobufCMessage *message, grpc_byte_buffer **ret_buffer,
                struct crownest_error *error)
{
    grpc_slice slice = grpc_slice_malloc(protobuf_c_message_get_packed_size(message));

    (void)protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(slice));
    *ret_buffer = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    return *ret_buffer ? 0 : crownest_error_local(error, ENOMEM, "out of memory");
}

/* Takes the buffer. */
static int unpack(grpc_byte_buffer *buffer, const ProtobufCMessageDescriptor *type,
                  ProtobufCMessage **ret_message, struct crownest_error *error)
{
    grpc_byte_buffer_reader reader;
    ProtobufCMessage *message = NULL;

    if (grpc_byte_buffer_reader_init(&reader, buffer)) {
        grpc_slice bytes = grpc_byte_buffer_reader_readall(&reader);

        message = protobuf_c_message_unpack(type, NULL, GRPC_SLICE_LENGTH(bytes),
                                            GRPC_SLICE_START_PTR(bytes));
        grpc_slice_unref(bytes);
        grpc_byte_buffer_reader_destroy(&reader);
    }
    grpc_byte_buffer_destroy(buffer);
    if (!message)
        return crownest_error_local(error, EPROTO, "the server's answer is no %s", type->name);
    *ret_message = message;
    return 0;
}

static int start(struct crownest_stream *stream, enum batch batch, const grpc_op *ops, size_t count,
                 struct crownest_error *error)
{
    grpc_call_error result =
        grpc_call_start_batch(stream->call, ops, count, &stream->pending[batch], NULL);

    if (result != GRPC_CALL_OK)
        return crownest_error_local(error, EIO, "gRPC refused a batch: %s",
                                    grpc_call_error_to_string(result));
    stream->pending[batch] = true;
    return 0;
}

/* Waits for a batch. False: the call has ended, and the status says how. */
static bool await(struct crownest_stream *stream, enum batch batch)
{
    if (!stream->pending[batch])
        return true;
    grpc_event event = grpc_completion_queue_pluck(stream->queue, &stream->pending[batch],
                                                   gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
    stream->pending[batch] = false;
    return event.success;
}

static void tell_entry(const struct crownest_call_options *to, const grpc_metadata *entry)
{
    char *name = grpc_slice_to_c_string(entry->key);
    char *value = grpc_slice_to_c_string(entry->value);

    if (!strncmp(name, METADATA_PREFIX, sizeof(METADATA_PREFIX) - 1))
        to->metadata(to->metadata_arg, name, value);
    gpr_free(name);
    gpr_free(value);
}

static void tell_metadata(struct crownest_stream *stream)
{
    const struct crownest_call_options *to = &stream->options;

    if (stream->told || !to->metadata)
        return;
    stream->told = true;
    (void)await(stream, BATCH_HEADER);
    for (size_t i = 0; i < stream->header.count; i++)
        tell_entry(to, &stream->header.metadata[i]);
    for (size_t i = 0; i < stream->trailer.count; i++)
        tell_entry(to, &stream->trailer.metadata[i]);
}

/* Waits for the end of the call: 0, or -EREMOTEIO with what the server said. */
static int await_status(struct crownest_stream *stream, struct crownest_error *error)
{
    const void *details = NULL;
    size_t details_len = 0;

    (void)await(stream, BATCH_STATUS);
    stream->has_status = true;
    tell_metadata(stream);
    if (stream->code == GRPC_STATUS_OK)
        return 0;
    for (size_t i = 0; i < stream->trailer.count; i++) {
        grpc_metadata *entry = &stream->trailer.metadata[i];

        if (grpc_slice_str_cmp(entry->key, "grpc-status-details-bin"))
            continue;
        details = GRPC_SLICE_START_PTR(entry->value);
        details_len = GRPC_SLICE_LENGTH(entry->value);
    }
    crownest_error_read((int)stream->code, GRPC_SLICE_START_PTR(stream->message),
                        GRPC_SLICE_LENGTH(stream->message), details, details_len, error);
    return -EREMOTEIO;
}

static gpr_timespec find_deadline(const struct crownest_call_options *options, int64_t otherwise_ms)
{
    int64_t ms = options && options->deadline_ms > 0 ? options->deadline_ms : otherwise_ms;

    if (!ms)
        return gpr_inf_future(GPR_CLOCK_MONOTONIC);
    return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(ms, GPR_TIMESPAN));
}

static struct crownest_stream *stream_new(struct crownest_client *client, const char *path,
                                          gpr_timespec deadline)
{
    struct crownest_stream *stream = calloc(1, sizeof(*stream));

    if (!stream)
        return NULL;
    grpc_slice method = grpc_slice_from_copied_string(path);
    grpc_metadata_array_init(&stream->header);
    grpc_metadata_array_init(&stream->trailer);
    stream->message = grpc_empty_slice();
    stream->queue = grpc_completion_queue_create_for_pluck(NULL);
    stream->call = grpc_channel_create_call(client->channel, NULL, GRPC_PROPAGATE_DEFAULTS,
                                            stream->queue, method, NULL, deadline, NULL);
    grpc_slice_unref(method);
    return stream;
}

/* The first batch: our metadata, and with a request that and the end of our side. */
static int start_sending(struct crownest_client *client, struct crownest_stream *stream,
                         const ProtobufCMessage *request, struct crownest_error *error)
{
    grpc_op ops[3] = {
        {.op = GRPC_OP_SEND_INITIAL_METADATA,
         .data.send_initial_metadata = {.count = client->metadata_count,
                                        .metadata = client->metadata}},
        {.op = GRPC_OP_SEND_MESSAGE},
        {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT},
    };

    if (!request)
        return start(stream, BATCH_OPEN, ops, 1, error);
    grpc_byte_buffer *buffer;
    int result = pack(request, &buffer, error);
    if (result)
        return result;
    ops[1].data.send_message.send_message = buffer;
    result = start(stream, BATCH_OPEN, ops, 3, error);
    grpc_byte_buffer_destroy(buffer);
    return result;
}

static int start_receiving(struct crownest_stream *stream, struct crownest_error *error)
{
    grpc_op header = {.op = GRPC_OP_RECV_INITIAL_METADATA,
                      .data.recv_initial_metadata.recv_initial_metadata = &stream->header};
    grpc_op status = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT,
                      .data.recv_status_on_client = {.trailing_metadata = &stream->trailer,
                                                     .status = &stream->code,
                                                     .status_details = &stream->message}};
    int result = start(stream, BATCH_HEADER, &header, 1, error);

    return result ? result : start(stream, BATCH_STATUS, &status, 1, error);
}

static int open_stream(struct crownest_client *client, const char *path,
                       const ProtobufCMessage *request, const struct crownest_call_options *options,
                       int64_t otherwise_ms, struct crownest_stream **ret_stream,
                       struct crownest_error *error)
{
    struct crownest_stream *stream = stream_new(client, path, find_deadline(options, otherwise_ms));

    if (!stream)
        return crownest_error_local(error, ENOMEM, "out of memory");
    if (options)
        stream->options = *options;
    int result = start_sending(client, stream, request, error);
    if (!result)
        result = start_receiving(stream, error);
    if (result) {
        crownest_stream_free(stream);
        return result;
    }
    *ret_stream = stream;
    return 0;
}

int crownest_stream_open(struct crownest_client *client, const char *path,
                         const ProtobufCMessage *request,
                         const struct crownest_call_options *options,
                         struct crownest_stream **ret_stream, struct crownest_error *ret_error)
{
    return open_stream(client, path, request, options, 0, ret_stream, ret_error);
}

int crownest_stream_next(struct crownest_stream *stream, const ProtobufCMessageDescriptor *type,
                         ProtobufCMessage **ret_message, struct crownest_error *ret_error)
{
    grpc_op receive = {.op = GRPC_OP_RECV_MESSAGE,
                       .data.recv_message.recv_message = &stream->received};

    if (stream->has_status)
        return await_status(stream, ret_error);
    stream->received = NULL;
    int result = start(stream, BATCH_RECEIVE, &receive, 1, ret_error);
    if (result)
        return result;
    (void)await(stream, BATCH_RECEIVE);
    if (!stream->received)
        return await_status(stream, ret_error);
    grpc_byte_buffer *buffer = stream->received;
    stream->received = NULL;
    result = unpack(buffer, type, ret_message, ret_error);
    return result ? result : 1;
}

int crownest_stream_send(struct crownest_stream *stream, const ProtobufCMessage *message,
                         struct crownest_error *ret_error)
{
    grpc_op send = {.op = GRPC_OP_SEND_MESSAGE};
    grpc_byte_buffer *buffer;
    int result = pack(message, &buffer, ret_error);

    if (result)
        return result;
    send.data.send_message.send_message = buffer;
    bool sent = await(stream, BATCH_OPEN);
    result = start(stream, BATCH_SEND, &send, 1, ret_error);
    if (!result)
        sent = await(stream, BATCH_SEND) && sent;
    grpc_byte_buffer_destroy(buffer);
    if (result || sent)
        return result;
    result = await_status(stream, ret_error);
    if (!result)
        return crownest_error_local(ret_error, EPIPE, "the server stopped reading");
    return result;
}

int crownest_stream_finish(struct crownest_stream *stream,
                           const ProtobufCMessageDescriptor *response_type,
                           ProtobufCMessage **ret_response, struct crownest_error *ret_error)
{
    grpc_op close_side = {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT};
    ProtobufCMessage *response;

    (void)await(stream, BATCH_OPEN);
    int result = start(stream, BATCH_SEND, &close_side, 1, ret_error);
    if (result)
        return result;
    (void)await(stream, BATCH_SEND);
    result = crownest_stream_next(stream, response_type, &response, ret_error);
    if (result == 0)
        return crownest_error_local(ret_error, EPROTO, "the server sent no answer");
    if (result < 0)
        return result;
    result = await_status(stream, ret_error);
    if (result) {
        protobuf_c_message_free_unpacked(response, NULL);
        return result;
    }
    *ret_response = response;
    return 0;
}

int crownest_call_unary(struct crownest_client *client, const char *path,
                        const ProtobufCMessage *request,
                        const ProtobufCMessageDescriptor *response_type,
                        const struct crownest_call_options *options,
                        ProtobufCMessage **ret_response, struct crownest_error *ret_error)
{
    struct crownest_stream *stream;
    ProtobufCMessage *response;
    int result = open_stream(client, path, request, options, UNARY_DEADLINE_MS, &stream, ret_error);

    if (result)
        return result;
    result = crownest_stream_next(stream, response_type, &response, ret_error);
    if (result == 0) {
        result = crownest_error_local(ret_error, EPROTO, "the server sent no answer");
    } else if (result > 0) {
        result = await_status(stream, ret_error);
        if (result)
            protobuf_c_message_free_unpacked(response, NULL);
        else
            *ret_response = response;
    }
    crownest_stream_free(stream);
    return result;
}

void crownest_stream_cancel(struct crownest_stream *stream)
{
    (void)grpc_call_cancel(stream->call, NULL);
}

void crownest_stream_free(struct crownest_stream *stream)
{
    if (!stream)
        return;
    if (!stream->has_status)
        (void)grpc_call_cancel(stream->call, NULL);
    for (int batch = 0; batch < BATCH_COUNT; batch++)
        (void)await(stream, (enum batch)batch);
    if (stream->received)
        grpc_byte_buffer_destroy(stream->received);
    grpc_call_unref(stream->call);
    grpc_completion_queue_shutdown(stream->queue);
    grpc_completion_queue_destroy(stream->queue);
    grpc_metadata_array_destroy(&stream->header);
    grpc_metadata_array_destroy(&stream->trailer);
    grpc_slice_unref(stream->message);
    free(stream);
}
