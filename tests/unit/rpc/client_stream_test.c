#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/rpc/fixture.h"

static uint8_t chunk[60000];

static void send_chunk(struct client_call *call)
{
    Crownest__V1__WriteFileRequest request = CROWNEST__V1__WRITE_FILE_REQUEST__INIT;

    request.part_case = CROWNEST__V1__WRITE_FILE_REQUEST__PART_DATA;
    request.data = (ProtobufCBinaryData){.data = chunk, .len = sizeof(chunk)};
    client_send_message(call, &request.base);
}

static void test_takes_all_and_answers(void **state)
{
    struct client_call call;
    unsigned closes = fixture_read(&fixture.closes);

    (void)state;
    fixture.bytes = 0;
    client_start(&fixture.client, &call, PATH_WRITE);
    for (int i = 0; i < 100; i++)
        send_chunk(&call);
    client_close(&call);
    Crownest__V1__WriteFileResponse *response =
        client_receive_message(&call, &crownest__v1__write_file_response__descriptor);

    client_finish(&call);
    assert_int_equal(call.code, GRPC_STATUS_OK);
    assert_int_equal(response->size_bytes, 100 * sizeof(chunk));
    crownest__v1__write_file_response__free_unpacked(response, NULL);
    client_call_done(&call);
    fixture_wait(&fixture.closes, closes + 1);
}

static void test_refusal_ends_it(void **state)
{
    Crownest__V1__WriteFileRequest request = CROWNEST__V1__WRITE_FILE_REQUEST__INIT;
    Crownest__V1__WriteFileOpen open = CROWNEST__V1__WRITE_FILE_OPEN__INIT;
    struct client_call call;
    unsigned closes = fixture_read(&fixture.closes);
    unsigned finishes = fixture_read(&fixture.finishes);

    (void)state;
    request.part_case = CROWNEST__V1__WRITE_FILE_REQUEST__PART_OPEN;
    request.open = &open;
    client_start(&fixture.client, &call, PATH_WRITE);
    client_send_message(&call, &request.base);
    client_finish(&call);
    client_expect(&call, GRPC_STATUS_FAILED_PRECONDITION, "TEST_REFUSED", NULL);
    client_call_done(&call);
    fixture_wait(&fixture.closes, closes + 1);
    assert_int_equal(fixture_read(&fixture.finishes), finishes);
}

/* Half an upload is not a whole one. */
static void test_cut_stream_is_not_finished(void **state)
{
    unsigned closes = fixture_read(&fixture.closes);
    unsigned finishes = fixture_read(&fixture.finishes);
    unsigned messages = fixture_read(&fixture.messages);

    (void)state;
    for (unsigned i = 0; i < 30; i++) {
        struct client_call call;

        client_start(&fixture.client, &call, PATH_WRITE);
        send_chunk(&call);
        fixture_wait(&fixture.messages, messages + i + 1);
        client_call_done(&call);
    }
    fixture_wait(&fixture.closes, closes + 30);
    assert_int_equal(fixture_read(&fixture.finishes), finishes);
}

static void test_cut_connection_is_not_finished(void **state)
{
    struct client client;
    struct client_call call;
    unsigned closes = fixture_read(&fixture.closes);
    unsigned finishes = fixture_read(&fixture.finishes);
    unsigned messages = fixture_read(&fixture.messages);

    (void)state;
    fixture_connect(&client, false);
    client_start(&client, &call, PATH_WRITE);
    send_chunk(&call);
    fixture_wait(&fixture.messages, messages + 1);
    client_call_done(&call);
    client_done(&client);
    fixture_wait(&fixture.closes, closes + 1);
    assert_int_equal(fixture_read(&fixture.finishes), finishes);
}

/* While the handler is busy with a message, a sender fills the connection's window and then waits:
 * its next message is not taken. */
static void test_busy_handler_holds_the_sender(void **state)
{
    struct client_call call;
    int tags[2000];
    unsigned accepted = 0, started = 0;
    unsigned blocked = fixture_read(&fixture.blocked);

    (void)state;
    fixture_hold(true);
    client_start(&fixture.client, &call, PATH_WRITE);
    grpc_slice slice = grpc_slice_malloc(sizeof(chunk));
    Crownest__V1__WriteFileRequest request = CROWNEST__V1__WRITE_FILE_REQUEST__INIT;

    request.part_case = CROWNEST__V1__WRITE_FILE_REQUEST__PART_DATA;
    request.data = (ProtobufCBinaryData){.data = chunk, .len = sizeof(chunk) - 16};
    GRPC_SLICE_SET_LENGTH(slice, protobuf_c_message_get_packed_size(&request.base));
    (void)protobuf_c_message_pack(&request.base, GRPC_SLICE_START_PTR(slice));
    for (bool taken = true; taken && started < 2000;) {
        grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
        grpc_op op = {.op = GRPC_OP_SEND_MESSAGE, .data.send_message.send_message = buffer};
        gpr_timespec wait =
            gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(500, GPR_TIMESPAN));

        assert_int_equal(grpc_call_start_batch(call.call, &op, 1, &tags[started], NULL),
                         GRPC_CALL_OK);
        taken = grpc_completion_queue_pluck(fixture.client.cq, &tags[started], wait, NULL).type ==
                GRPC_OP_COMPLETE;
        accepted += taken;
        started++;
        grpc_byte_buffer_destroy(buffer);
    }
    /* 120 MB would have been sent; what is on the way is bounded. */
    assert_in_range(accepted, 1, 400);
    fixture_wait(&fixture.blocked, blocked + 1);
    assert_int_equal(fixture_read(&fixture.blocked), blocked + 1);
    fixture_hold(false);
    (void)grpc_completion_queue_pluck(fixture.client.cq, &tags[started - 1],
                                      gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
    client_call_done(&call);
    grpc_slice_unref(slice);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_takes_all_and_answers),
        FIXTURE_TEST(test_refusal_ends_it),
        FIXTURE_TEST(test_cut_stream_is_not_finished),
        FIXTURE_TEST(test_cut_connection_is_not_finished),
        FIXTURE_TEST(test_busy_handler_holds_the_sender),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
