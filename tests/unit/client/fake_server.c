#include "tests/unit/client/fake_server.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/support/time.h>

struct fake_server {
    grpc_server *server;
    grpc_completion_queue *queue;
    pthread_t thread;
    char target[64];
    const struct fake_answer *answers;
    size_t count;
    struct fake_call calls[FAKE_CALLS_MAX];
};

/* Everything happens in turn, so that one tag is under way at a time, but for the close. */
static bool await(struct fake_server *server, void *tag)
{
    return grpc_completion_queue_pluck(server->queue, tag, gpr_inf_future(GPR_CLOCK_REALTIME), NULL)
        .success;
}

static bool run_op(struct fake_server *server, grpc_call *call, const grpc_op *op)
{
    return grpc_call_start_batch(call, op, 1, server, NULL) == GRPC_CALL_OK &&
           await(server, server);
}

static void copy_slice(grpc_slice slice, char *to)
{
    (void)snprintf(to, FAKE_TEXT_SIZE, "%.*s", (int)GRPC_SLICE_LENGTH(slice),
                   (const char *)GRPC_SLICE_START_PTR(slice));
}

static void note_metadata(struct fake_call *note, const grpc_metadata_array *metadata)
{
    for (size_t i = 0; i < metadata->count; i++) {
        if (!grpc_slice_str_cmp(metadata->metadata[i].key, "authorization"))
            copy_slice(metadata->metadata[i].value, note->authorization);
        if (!grpc_slice_str_cmp(metadata->metadata[i].key, "x-crownest-project"))
            copy_slice(metadata->metadata[i].value, note->project);
    }
}

static void note_message(struct fake_call *note, grpc_byte_buffer *buffer)
{
    grpc_byte_buffer_reader reader;

    assert_true(grpc_byte_buffer_reader_init(&reader, buffer));
    grpc_slice slice = grpc_byte_buffer_reader_readall(&reader);
    note->request_len = GRPC_SLICE_LENGTH(slice) < sizeof(note->request) ? GRPC_SLICE_LENGTH(slice)
                                                                         : sizeof(note->request);
    memcpy(note->request, GRPC_SLICE_START_PTR(slice), note->request_len);
    note->message_count++;
    grpc_slice_unref(slice);
    grpc_byte_buffer_reader_destroy(&reader);
    grpc_byte_buffer_destroy(buffer);
}

static void receive_all(struct fake_server *server, grpc_call *call, struct fake_call *note)
{
    grpc_byte_buffer *buffer;

    do {
        grpc_op op = {.op = GRPC_OP_RECV_MESSAGE, .data.recv_message.recv_message = &buffer};

        buffer = NULL;
        if (!run_op(server, call, &op))
            break;
        if (buffer)
            note_message(note, buffer);
    } while (buffer);
}

static void send_all(struct fake_server *server, grpc_call *call, const struct fake_answer *answer)
{
    grpc_op header = {.op = GRPC_OP_SEND_INITIAL_METADATA};

    (void)run_op(server, call, &header);
    for (size_t i = 0; i < FAKE_MESSAGES_MAX && answer->messages[i]; i++) {
        grpc_slice slice =
            grpc_slice_malloc(protobuf_c_message_get_packed_size(answer->messages[i]));
        grpc_op op = {.op = GRPC_OP_SEND_MESSAGE};

        (void)protobuf_c_message_pack(answer->messages[i], GRPC_SLICE_START_PTR(slice));
        op.data.send_message.send_message = grpc_raw_byte_buffer_create(&slice, 1);
        grpc_slice_unref(slice);
        (void)run_op(server, call, &op);
        grpc_byte_buffer_destroy(op.data.send_message.send_message);
    }
}

static void send_status(struct fake_server *server, grpc_call *call,
                        const struct fake_answer *answer)
{
    grpc_slice message = grpc_slice_from_copied_string(answer->message ? answer->message : "");
    grpc_metadata trailer = {
        .key = grpc_slice_from_static_string("grpc-status-details-bin"),
        .value = grpc_slice_from_copied_buffer(answer->details ? answer->details : "",
                                               answer->details_len),
    };
    grpc_op op = {.op = GRPC_OP_SEND_STATUS_FROM_SERVER,
                  .data.send_status_from_server = {
                      .status = (grpc_status_code)answer->code,
                      .status_details = &message,
                      .trailing_metadata_count = answer->details ? 1 : 0,
                      .trailing_metadata = &trailer,
                  }};

    (void)run_op(server, call, &op);
    grpc_slice_unref(message);
    grpc_slice_unref(trailer.value);
}

static void serve_call(struct fake_server *server, grpc_call *call,
                       const struct fake_answer *answer, struct fake_call *note)
{
    int cancelled = 0;
    grpc_op close_op = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER,
                        .data.recv_close_on_server.cancelled = &cancelled};

    (void)grpc_call_start_batch(call, &close_op, 1, note, NULL);
    receive_all(server, call, note);
    send_all(server, call, answer);
    if (answer->hang)
        (void)await(server, note);
    send_status(server, call, answer);
    if (!answer->hang)
        (void)await(server, note);
    note->cancelled = cancelled;
}

static void *run_script(void *argument)
{
    struct fake_server *server = argument;

    for (size_t i = 0; i < server->count; i++) {
        grpc_call_details details;
        grpc_metadata_array metadata;
        grpc_call *call = NULL;

        grpc_call_details_init(&details);
        grpc_metadata_array_init(&metadata);
        (void)grpc_server_request_call(server->server, &call, &details, &metadata, server->queue,
                                       server->queue, server);
        if (await(server, server)) {
            copy_slice(details.method, server->calls[i].path);
            note_metadata(&server->calls[i], &metadata);
            serve_call(server, call, &server->answers[i], &server->calls[i]);
            grpc_call_unref(call);
        }
        grpc_metadata_array_destroy(&metadata);
        grpc_call_details_destroy(&details);
    }
    return NULL;
}

struct fake_server *fake_server_start(const struct fake_answer *answers, size_t count,
                                      const char **ret_target)
{
    struct fake_server *server = calloc(1, sizeof(*server));

    assert_non_null(server);
    assert_true(count <= FAKE_CALLS_MAX);
    server->answers = answers;
    server->count = count;
    grpc_init();
    server->server = grpc_server_create(NULL, NULL);
    server->queue = grpc_completion_queue_create_for_pluck(NULL);
    grpc_server_register_completion_queue(server->server, server->queue, NULL);
    grpc_server_credentials *credentials = grpc_insecure_server_credentials_create();
    int port = grpc_server_add_http2_port(server->server, "127.0.0.1:0", credentials);
    grpc_server_credentials_release(credentials);
    assert_int_not_equal(port, 0);
    (void)snprintf(server->target, sizeof(server->target), "127.0.0.1:%d", port);
    grpc_server_start(server->server);
    assert_int_equal(pthread_create(&server->thread, NULL, run_script, server), 0);
    *ret_target = server->target;
    return server;
}

void fake_server_stop(struct fake_server *server, struct fake_call ret_calls[FAKE_CALLS_MAX])
{
    /* Ends the wait for a call that never came, such as one whose deadline passed on the way. */
    grpc_server_shutdown_and_notify(server->server, server->queue, &server->thread);
    (void)pthread_join(server->thread, NULL);
    (void)await(server, &server->thread);
    grpc_server_destroy(server->server);
    grpc_completion_queue_shutdown(server->queue);
    grpc_completion_queue_destroy(server->queue);
    grpc_shutdown();
    if (ret_calls)
        memcpy(ret_calls, server->calls, sizeof(server->calls));
    free(server);
}
