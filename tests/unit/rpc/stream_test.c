#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/rpc/fixture.h"

static void expect_message(struct client_call *call, uint64_t offset)
{
    Crownest__V1__StreamLogsResponse *response =
        client_receive_message(call, &crownest__v1__stream_logs_response__descriptor);

    assert_non_null(response);
    assert_int_equal(response->event->output->offset, offset);
    crownest__v1__stream_logs_response__free_unpacked(response, NULL);
}

static void test_all_messages_in_order(void **state)
{
    struct client_call call;
    unsigned closes = fixture_read(&fixture.closes);

    (void)state;
    fixture_logs(&call, "count", 1000);
    for (uint64_t i = 0; i < 1000; i++)
        expect_message(&call, i);
    assert_null(client_receive(&call));
    client_finish(&call);
    assert_int_equal(call.code, GRPC_STATUS_OK);
    client_call_done(&call);
    fixture_wait(&fixture.closes, closes + 1);
}

static void test_empty_stream(void **state)
{
    struct client_call call;

    (void)state;
    fixture_logs(&call, "count", 0);
    assert_null(client_receive(&call));
    client_finish(&call);
    assert_int_equal(call.code, GRPC_STATUS_OK);
    client_call_done(&call);
}

static void test_status_of_the_end(void **state)
{
    struct client_call call;

    (void)state;
    fixture_logs(&call, "error", 0);
    client_finish(&call);
    client_expect(&call, GRPC_STATUS_DATA_LOSS, "LOG_DAMAGED", NULL);
    client_call_done(&call);
}

static void *emit(void *arg)
{
    for (unsigned i = 0; i < *(const unsigned *)arg; i++)
        fixture_emit();
    return NULL;
}

static void test_woken_from_another_thread(void **state)
{
    struct client_call call;
    unsigned opens = fixture_read(&fixture.opens);
    unsigned count = 500;
    pthread_t thread;

    (void)state;
    fixture_logs(&call, "wake", 0);
    fixture_wait(&fixture.opens, opens + 1);
    assert_int_equal(pthread_create(&thread, NULL, emit, &count), 0);
    for (unsigned i = 0; i < count; i++)
        expect_message(&call, i);
    assert_int_equal(pthread_join(thread, NULL), 0);
    /* And one wake after the other, each from a stream that waits. */
    for (unsigned i = count; i < count + 50; i++) {
        fixture_emit();
        expect_message(&call, i);
    }
    client_call_done(&call);
}

static void test_cancelled_while_waiting_closes_once(void **state)
{
    struct client_call call;
    unsigned opens = fixture_read(&fixture.opens);
    unsigned closes = fixture_read(&fixture.closes);
    unsigned pulls = fixture_read(&fixture.pulls);

    (void)state;
    fixture_logs(&call, "wake", 0);
    fixture_wait(&fixture.opens, opens + 1);
    fixture_wait(&fixture.pulls, pulls + 1);
    client_call_done(&call);
    fixture_wait(&fixture.closes, closes + 1);
    /* Wakes after the end are harmless. */
    for (int i = 0; i < 100; i++)
        fixture_emit();
    fixture.emitted = 0;
    assert_int_equal(fixture_read(&fixture.closes), closes + 1);
}

static void test_cancelled_under_way_closes_once(void **state)
{
    unsigned closes = fixture_read(&fixture.closes);

    (void)state;
    for (unsigned i = 0; i < 50; i++) {
        struct client_call call;

        fixture_logs(&call, "flood", 0);
        grpc_byte_buffer_destroy(client_receive(&call));
        client_call_done(&call);
    }
    fixture_wait(&fixture.closes, closes + 50);
    assert_int_equal(fixture_read(&fixture.closes), closes + 50);
    assert_int_equal(fixture_read(&fixture.opens) - fixture_read(&fixture.closes), 0);
}

/* A reader that never reads: gRPC's window fills, and then nothing more is pulled. The messages
 * are 60,000 bytes, so what was pulled is a bound on the memory. */
static void test_slow_reader_stops_the_pulls(void **state)
{
    struct client_call slow, other;
    unsigned pulls = fixture_read(&fixture.pulls);

    (void)state;
    fixture_logs(&slow, "flood", 0);
    fixture_wait(&fixture.pulls, pulls + 2);
    /* Other streams of the connection go on; when this one is over the slow one had its time. */
    fixture_logs(&other, "count", 2000);
    for (uint64_t i = 0; i < 2000; i++)
        expect_message(&other, i);
    client_call_done(&other);
    assert_in_range(fixture_read(&fixture.pulls) - pulls, 2, 2001 + 100);
    /* And it goes on where it was when the reader comes back. */
    for (uint64_t i = 0; i < 200; i++)
        expect_message(&slow, i);
    client_call_done(&slow);
}

static void test_many_streams_at_one_time(void **state)
{
    struct client_call calls[300];
    unsigned opens = fixture_read(&fixture.opens);
    unsigned closes = fixture_read(&fixture.closes);

    (void)state;
    for (unsigned i = 0; i < 300; i++)
        fixture_logs(&calls[i], "wake", 0);
    fixture_wait(&fixture.opens, opens + 300);
    for (unsigned i = 0; i < 300; i++)
        client_call_done(&calls[i]);
    fixture_wait(&fixture.closes, closes + 300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_all_messages_in_order),
        FIXTURE_TEST(test_empty_stream),
        FIXTURE_TEST(test_status_of_the_end),
        FIXTURE_TEST(test_woken_from_another_thread),
        FIXTURE_TEST(test_cancelled_while_waiting_closes_once),
        FIXTURE_TEST(test_cancelled_under_way_closes_once),
        FIXTURE_TEST(test_slow_reader_stops_the_pulls),
        FIXTURE_TEST(test_many_streams_at_one_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
