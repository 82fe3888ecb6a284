#include "tests/unit/rpc/client.h"

#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc_posix.h>
#include <grpc/grpc_security.h>
#include <grpc/support/time.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define WAIT_S 20 /* far above what any step takes */

static gpr_timespec in_ms(int ms)
{
    return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(ms, GPR_TIMESPAN));
}

void client_init(struct client *client, int fd)
{
    grpc_channel_credentials *insecure = grpc_insecure_credentials_create();
    grpc_arg list[] = {
        {.type = GRPC_ARG_INTEGER,
         .key = (char *)(uintptr_t)GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH,
         .value.integer = -1},
    };
    grpc_channel_args args = {.num_args = 1, .args = list};

    *client = (struct client){0};
    client->cq = grpc_completion_queue_create_for_pluck(NULL);
    client->channel = grpc_channel_create_from_fd("test", fd, insecure, &args);
    grpc_channel_credentials_release(insecure);
}

void client_done(struct client *client)
{
    grpc_channel_destroy(client->channel);
    grpc_completion_queue_shutdown(client->cq);
    while (grpc_completion_queue_pluck(client->cq, NULL, in_ms(WAIT_S * 1000), NULL).type !=
           GRPC_QUEUE_SHUTDOWN)
        ;
    grpc_completion_queue_destroy(client->cq);
}

static bool step(struct client_call *call, const grpc_op *ops, size_t count)
{
    int tag;

    assert_int_equal(grpc_call_start_batch(call->call, ops, count, &tag, NULL), GRPC_CALL_OK);
    grpc_event event =
        grpc_completion_queue_pluck(call->client->cq, &tag, in_ms(WAIT_S * 1000), NULL);

    assert_int_equal(event.type, GRPC_OP_COMPLETE);
    return event.success != 0;
}

void client_start_within(struct client *client, struct client_call *call, const char *path,
                         int deadline_ms)
{
    grpc_op op = {.op = GRPC_OP_SEND_INITIAL_METADATA};
    grpc_metadata metadata[2];
    size_t count = 0;

    *call = (struct client_call){.client = client, .message = grpc_empty_slice()};
    grpc_metadata_array_init(&call->initial);
    grpc_metadata_array_init(&call->trailing);
    grpc_slice method = grpc_slice_from_copied_string(path);

    call->call = grpc_channel_create_call(client->channel, NULL, GRPC_PROPAGATE_DEFAULTS,
                                          client->cq, method, NULL, in_ms(deadline_ms), NULL);
    grpc_slice_unref(method);
    if (client->authorization)
        metadata[count++] =
            (grpc_metadata){.key = grpc_slice_from_static_string("authorization"),
                            .value = grpc_slice_from_static_string(client->authorization)};
    if (client->project)
        metadata[count++] =
            (grpc_metadata){.key = grpc_slice_from_static_string("x-crownest-project"),
                            .value = grpc_slice_from_static_string(client->project)};
    op.data.send_initial_metadata.count = count;
    op.data.send_initial_metadata.metadata = metadata;
    (void)step(call, &op, 1);
}

void client_start(struct client *client, struct client_call *call, const char *path)
{
    client_start_within(client, call, path, WAIT_S * 1000);
}

void client_send(struct client_call *call, const void *data, size_t size)
{
    grpc_slice slice = grpc_slice_from_copied_buffer(data, size);
    grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_op op = {.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = buffer};

    (void)step(call, &op, 1);
    grpc_byte_buffer_destroy(buffer);
    grpc_slice_unref(slice);
}

void client_send_message(struct client_call *call, const ProtobufCMessage *message)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *data = malloc(size + 1);

    assert_non_null(data);
    (void)protobuf_c_message_pack(message, data);
    client_send(call, data, size);
    free(data);
}

void client_cancel(struct client_call *call)
{
    (void)grpc_call_cancel(call->call, NULL);
}

void client_close(struct client_call *call)
{
    grpc_op op = {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT};

    (void)step(call, &op, 1);
}

grpc_byte_buffer *client_receive(struct client_call *call)
{
    grpc_byte_buffer *buffer = NULL;
    grpc_op ops[2] = {{.op = GRPC_OP_RECV_MESSAGE}, {.op = GRPC_OP_RECV_INITIAL_METADATA}};
    size_t count = call->started ? 1 : 2;

    ops[0].data.recv_message.recv_message = &buffer;
    ops[1].data.recv_initial_metadata.recv_initial_metadata = &call->initial;
    (void)step(call, ops, count);
    call->started = true;
    return buffer;
}

void *client_receive_message(struct client_call *call, const ProtobufCMessageDescriptor *type)
{
    grpc_byte_buffer *buffer = client_receive(call);
    grpc_byte_buffer_reader reader;

    if (!buffer)
        return NULL;
    assert_true(grpc_byte_buffer_reader_init(&reader, buffer));
    grpc_slice slice = grpc_byte_buffer_reader_readall(&reader);
    void *message = protobuf_c_message_unpack(type, NULL, GRPC_SLICE_LENGTH(slice),
                                              GRPC_SLICE_START_PTR(slice));

    grpc_slice_unref(slice);
    grpc_byte_buffer_reader_destroy(&reader);
    grpc_byte_buffer_destroy(buffer);
    assert_non_null(message);
    return message;
}

void client_finish(struct client_call *call)
{
    grpc_op op = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT};

    /* gRPC holds the status back until all that came before it was read. */
    for (grpc_byte_buffer *unread; (unread = client_receive(call));)
        grpc_byte_buffer_destroy(unread);
    op.data.recv_status_on_client.trailing_metadata = &call->trailing;
    op.data.recv_status_on_client.status = &call->code;
    op.data.recv_status_on_client.status_details = &call->message;
    (void)step(call, &op, 1);
    call->ended = true;
}

void client_call_done(struct client_call *call)
{
    if (!call->ended) {
        (void)grpc_call_cancel(call->call, NULL);
        client_finish(call);
    }
    grpc_metadata_array_destroy(&call->initial);
    grpc_metadata_array_destroy(&call->trailing);
    grpc_slice_unref(call->message);
    grpc_call_unref(call->call);
}

void *client_unary(struct client *client, struct client_call *call, const char *path,
                   const ProtobufCMessage *request, const ProtobufCMessageDescriptor *response)
{
    client_start(client, call, path);
    client_send_message(call, request);
    client_close(call);
    void *message = client_receive_message(call, response);

    client_finish(call);
    return message;
}

Google__Rpc__Status *client_details(const struct client_call *call)
{
    for (size_t i = 0; i < call->trailing.count; i++) {
        const grpc_metadata *entry = &call->trailing.metadata[i];

        if (grpc_slice_str_cmp(entry->key, "grpc-status-details-bin") == 0)
            return google__rpc__status__unpack(NULL, GRPC_SLICE_LENGTH(entry->value),
                                               GRPC_SLICE_START_PTR(entry->value));
    }
    return NULL;
}

Google__Rpc__ErrorInfo *client_error_info(const struct client_call *call)
{
    Google__Rpc__Status *status = client_details(call);
    Google__Rpc__ErrorInfo *info = NULL;

    for (size_t i = 0; status && !info && i < status->n_details; i++)
        if (strcmp(status->details[i]->type_url, "type.googleapis.com/google.rpc.ErrorInfo") == 0)
            info = google__rpc__error_info__unpack(NULL, status->details[i]->value.len,
                                                   status->details[i]->value.data);
    if (status)
        google__rpc__status__free_unpacked(status, NULL);
    return info;
}

void client_expect(const struct client_call *call, grpc_status_code code, const char *reason,
                   const char *field)
{
    assert_int_equal(call->code, code);
    Google__Rpc__ErrorInfo *info = client_error_info(call);
    const char *found = NULL;

    assert_non_null(info);
    assert_string_equal(info->reason, reason);
    assert_string_equal(info->domain, "crownest");
    for (size_t i = 0; i < info->n_metadata; i++)
        if (strcmp(info->metadata[i]->key, "field") == 0)
            found = info->metadata[i]->value;
    if (field) {
        assert_non_null(found);
        assert_string_equal(found, field);
    } else {
        assert_null(found);
    }
    google__rpc__error_info__free_unpacked(info, NULL);
}
