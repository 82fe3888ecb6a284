/* Open streams end when their caller may call no more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/util/cleanup.h"
#include "tests/unit/rpc/fixture.h"

static struct status refuse(void *arg, const struct rpc_caller *caller)
{
    if (strcmp(caller->project_id, arg) != 0)
        return STATUS_OK_VALUE;
    return status_error(STATUS_UNAUTHENTICATED, "KEY_REVOKED", "the key was revoked");
}

static void revoke_of(const char *project_id)
{
    rpc_server_recheck(fixture.server, refuse, (void *)(uintptr_t)project_id);
}

static void send_data(struct client_call *call)
{
    static uint8_t data[1000];
    Crownest__V1__WriteFileRequest request = CROWNEST__V1__WRITE_FILE_REQUEST__INIT;

    request.part_case = CROWNEST__V1__WRITE_FILE_REQUEST__PART_DATA;
    request.data = (ProtobufCBinaryData){.data = data, .len = sizeof(data)};
    client_send_message(call, &request.base);
}

/* A stream that has nothing to send. */
static void start_idle(struct client_call *call)
{
    unsigned pulls = fixture_read(&fixture.pulls);

    fixture_logs(call, "wake", 0);
    fixture_wait(&fixture.pulls, pulls + 1);
}

static void expect_revoked(struct client_call *call)
{
    client_finish(call);
    client_expect(call, GRPC_STATUS_UNAUTHENTICATED, "KEY_REVOKED", NULL);
    client_call_done(call);
}

static void an_idle_stream_ends_at_once(void **state)
{
    struct client_call call;

    (void)state;
    start_idle(&call);
    revoke_of("prj_test");
    expect_revoked(&call);
    fixture_wait(&fixture.closes, 1);
}

static void a_stream_of_somebody_else_goes_on(void **state)
{
    struct client_call call;

    (void)state;
    start_idle(&call);
    revoke_of("prj_other");
    fixture_emit();
    grpc_byte_buffer *message = client_receive(&call);

    assert_non_null(message);
    grpc_byte_buffer_destroy(message);
    client_call_done(&call);
    fixture_wait(&fixture.closes, 1);
}

static void a_stream_that_sends_ends(void **state)
{
    struct client_call call;

    (void)state;
    fixture_logs(&call, "flood", 0);
    grpc_byte_buffer_destroy(client_receive(&call));
    revoke_of("prj_test");
    expect_revoked(&call);
    fixture_wait(&fixture.closes, 1);
}

/* Its client gets the code only: the rest of the status is behind what it does not read. */
static void a_stream_whose_client_does_not_read_ends(void **state)
{
    struct client_call call;

    (void)state;
    fixture_logs(&call, "flood", 0);
    fixture_wait(&fixture.pulls, 2);
    revoke_of("prj_test");
    fixture_wait(&fixture.closes, 1);
    client_finish(&call);
    assert_int_equal(call.code, GRPC_STATUS_UNAUTHENTICATED);
    client_call_done(&call);
}

static void an_upload_that_waits_for_its_client_ends_at_once(void **state)
{
    struct client_call call;

    (void)state;
    client_start(&fixture.client, &call, PATH_WRITE);
    send_data(&call);
    fixture_wait(&fixture.messages, 1);
    revoke_of("prj_test");
    expect_revoked(&call);
    fixture_wait(&fixture.closes, 1);
    assert_int_equal(fixture_read(&fixture.finishes), 0);
}

static void an_upload_whose_handler_is_busy_ends_after_it(void **state)
{
    struct client_call call;

    (void)state;
    fixture_hold(true);
    client_start(&fixture.client, &call, PATH_WRITE);
    send_data(&call);
    fixture_wait(&fixture.blocked, 1);
    client_close(&call);
    revoke_of("prj_test");
    fixture_hold(false);
    expect_revoked(&call);
    fixture_wait(&fixture.closes, 1);
    assert_int_equal(fixture_read(&fixture.messages), 1);
    assert_int_equal(fixture_read(&fixture.finishes), 0);
}

static void set(bool *flag, bool value)
{
    lock_scope(&fixture.mutex);
    *flag = value;
    (void)pthread_cond_broadcast(&fixture.changed);
}

/* Between the look at its key and its place among the open streams. */
static void a_stream_that_just_opens_is_not_missed(void **state)
{
    struct client_call call;

    (void)state;
    set(&fixture.hold_authorize, true);
    fixture_logs(&call, "wake", 0);
    fixture_wait(&fixture.blocked, 1);
    set(&fixture.revoked, true);
    revoke_of("prj_test");
    set(&fixture.hold_authorize, false);
    expect_revoked(&call);
    assert_int_equal(fixture_read(&fixture.opens), 0);
}

static void an_idle_stream_is_asked_about_once_in_a_while(void **state)
{
    struct client_call call;

    (void)state;
    start_idle(&call);
    set(&fixture.revoked, true);
    expect_revoked(&call);
    fixture_wait(&fixture.closes, 1);
}

/* Many at once, of both kinds, while they come and go. */
static void streams_that_come_and_go_all_end(void **state)
{
    enum { ROUNDS = 50, EACH = 8 };
    static struct client_call calls[2 * EACH];

    (void)state;
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < EACH; i++) {
            fixture_logs(&calls[2 * i], i % 2 ? "wake" : "flood", 0);
            client_start(&fixture.client, &calls[2 * i + 1], PATH_WRITE);
            send_data(&calls[2 * i + 1]);
        }
        fixture_wait(&fixture.opens, (round + 1) * 2 * EACH);
        revoke_of("prj_test");
        for (unsigned i = 0; i < 2 * EACH; i++)
            expect_revoked(&calls[i]);
        fixture_wait(&fixture.closes, (round + 1) * 2 * EACH);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(an_idle_stream_ends_at_once),
        FIXTURE_TEST(a_stream_of_somebody_else_goes_on),
        FIXTURE_TEST(a_stream_that_sends_ends),
        FIXTURE_TEST(a_stream_whose_client_does_not_read_ends),
        FIXTURE_TEST(an_upload_that_waits_for_its_client_ends_at_once),
        FIXTURE_TEST(an_upload_whose_handler_is_busy_ends_after_it),
        FIXTURE_TEST(a_stream_that_just_opens_is_not_missed),
        FIXTURE_TEST(an_idle_stream_is_asked_about_once_in_a_while),
        FIXTURE_TEST(streams_that_come_and_go_all_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
