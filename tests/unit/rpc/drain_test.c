#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/util/clock.h"
#include "tests/unit/rpc/fixture.h"

struct drain {
    pthread_t thread;
    unsigned grace_ms;
};

static void *drain_main(void *arg)
{
    const struct drain *drain = arg;

    rpc_server_drain(fixture.server, drain->grace_ms);
    return NULL;
}

static void drain_start(struct drain *drain, unsigned grace_ms)
{
    drain->grace_ms = grace_ms;
    assert_int_equal(pthread_create(&drain->thread, NULL, drain_main, drain), 0);
}

static void start_get(struct client_call *call, const char *id, const unsigned *begun)
{
    Crownest__V1__GetSandboxRequest request = CROWNEST__V1__GET_SANDBOX_REQUEST__INIT;

    fixture_hold(true);
    request.sandbox_id = (char *)(uintptr_t)id;
    client_start(&fixture.client, call, PATH_GET);
    client_send_message(call, &request.base);
    client_close(call);
    fixture_wait(begun, 1);
}

static void test_nothing_under_way(void **state)
{
    uint64_t before = clock_monotonic_ms();

    (void)state;
    rpc_server_drain(fixture.server, 10000);
    assert_true(clock_monotonic_ms() - before < 5000);
}

static void test_call_under_way_is_waited_for(void **state)
{
    struct client_call call;
    struct drain drain;

    (void)state;
    start_get(&call, "block", &fixture.blocked);
    drain_start(&drain, 15000);
    fixture_hold(false);
    client_finish(&call);
    assert_int_equal(call.code, GRPC_STATUS_OK);
    client_call_done(&call);
    assert_int_equal(pthread_join(drain.thread, NULL), 0);
}

static void test_what_outlives_the_grace_is_cancelled(void **state)
{
    struct client_call stream, call;
    unsigned closes = fixture_read(&fixture.closes);
    unsigned opens = fixture_read(&fixture.opens);

    (void)state;
    fixture_logs(&stream, "wake", 0);
    fixture_wait(&fixture.opens, opens + 1);
    start_get(&call, "endless", &fixture.endless);
    struct drain drain;

    drain_start(&drain, 100);
    client_finish(&stream);
    assert_int_not_equal(stream.code, GRPC_STATUS_OK);
    fixture_wait(&fixture.closes, closes + 1);
    client_finish(&call);
    assert_int_not_equal(call.code, GRPC_STATUS_OK);
    assert_int_equal(pthread_join(drain.thread, NULL), 0);
    assert_int_equal(fixture_read(&fixture.cancelled), 1);
    client_call_done(&stream);
    client_call_done(&call);
}

static void test_new_calls_are_refused(void **state)
{
    Crownest__V1__GetSandboxRequest request = CROWNEST__V1__GET_SANDBOX_REQUEST__INIT;
    struct client_call call;

    (void)state;
    rpc_server_drain(fixture.server, 0);
    assert_null(client_unary(&fixture.client, &call, PATH_GET, &request.base,
                             &crownest__v1__get_sandbox_response__descriptor));
    assert_int_equal(call.code, GRPC_STATUS_UNAVAILABLE);
    client_call_done(&call);
}

static void test_free_without_a_drain(void **state)
{
    struct client_call call;
    unsigned opens = fixture_read(&fixture.opens);

    (void)state;
    /* Its end is the teardown's. */
    fixture_logs(&call, "flood", 0);
    fixture_wait(&fixture.opens, opens + 1);
    client_call_done(&call);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_nothing_under_way),
        FIXTURE_TEST(test_call_under_way_is_waited_for),
        FIXTURE_TEST(test_what_outlives_the_grace_is_cancelled),
        FIXTURE_TEST(test_new_calls_are_refused),
        FIXTURE_TEST(test_free_without_a_drain),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
