#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/rpc/fixture.h"

static void *get(struct client *client, struct client_call *call, const char *id)
{
    Crownest__V1__GetSandboxRequest request = CROWNEST__V1__GET_SANDBOX_REQUEST__INIT;

    request.sandbox_id = (char *)(uintptr_t)id;
    return client_unary(client, call, PATH_GET, &request.base,
                        &crownest__v1__get_sandbox_response__descriptor);
}

static void test_answers(void **state)
{
    struct client_call call;
    Crownest__V1__GetSandboxResponse *response = get(&fixture.client, &call, "hello");

    (void)state;
    assert_int_equal(call.code, GRPC_STATUS_OK);
    assert_string_equal(response->sandbox->sandbox_id, "hello");
    assert_string_equal(response->sandbox->project_id, "prj_test");
    assert_null(client_details(&call));
    assert_int_equal(call.initial.count, 1);
    assert_int_equal(grpc_slice_str_cmp(call.initial.metadata[0].key, "x-crownest-request-id"), 0);
    assert_memory_equal(GRPC_SLICE_START_PTR(call.initial.metadata[0].value), "req_", 4);
    crownest__v1__get_sandbox_response__free_unpacked(response, NULL);
    client_call_done(&call);
}

static const Google__Protobuf__Any *detail(const Google__Rpc__Status *status, const char *name)
{
    for (size_t i = 0; i < status->n_details; i++)
        if (strstr(status->details[i]->type_url, name))
            return status->details[i];
    fail_msg("no %s among the details", name);
    return NULL;
}

static void test_error_carries_details(void **state)
{
    struct client_call call;

    (void)state;
    assert_null(get(&fixture.client, &call, "error"));
    client_expect(&call, GRPC_STATUS_INVALID_ARGUMENT, "SANDBOX_ID_INVALID", "sandbox_id");
    Google__Rpc__Status *status = client_details(&call);

    assert_int_equal(status->code, GRPC_STATUS_INVALID_ARGUMENT);
    assert_string_equal(status->message, "not an id \xc3\xa4");
    const Google__Protobuf__Any *any = detail(status, "RetryInfo");
    Google__Rpc__RetryInfo *retry =
        google__rpc__retry_info__unpack(NULL, any->value.len, any->value.data);

    assert_int_equal(retry->retry_delay->seconds, 1);
    assert_int_equal(retry->retry_delay->nanos, 500000000);
    google__rpc__retry_info__free_unpacked(retry, NULL);
    any = detail(status, "BadRequest");
    Google__Rpc__BadRequest *bad =
        google__rpc__bad_request__unpack(NULL, any->value.len, any->value.data);

    assert_string_equal(bad->field_violations[0]->field, "sandbox_id");
    google__rpc__bad_request__free_unpacked(bad, NULL);
    any = detail(status, "RequestInfo");
    Google__Rpc__RequestInfo *info =
        google__rpc__request_info__unpack(NULL, any->value.len, any->value.data);

    assert_memory_equal(info->request_id, "req_", 4);
    google__rpc__request_info__free_unpacked(info, NULL);
    google__rpc__status__free_unpacked(status, NULL);
    client_call_done(&call);
}

static void test_error_says_whether_to_retry(void **state)
{
    struct client_call call;
    bool retryable = false, admitted = false;

    (void)state;
    assert_null(get(&fixture.client, &call, "error"));
    Google__Rpc__ErrorInfo *info = client_error_info(&call);

    for (size_t i = 0; i < info->n_metadata; i++) {
        retryable |= strcmp(info->metadata[i]->key, "retryable") == 0 &&
                     strcmp(info->metadata[i]->value, "true") == 0;
        admitted |= strcmp(info->metadata[i]->key, "admitted") == 0 &&
                    strcmp(info->metadata[i]->value, "unknown") == 0;
    }
    assert_true(retryable);
    assert_true(admitted);
    google__rpc__error_info__free_unpacked(info, NULL);
    client_call_done(&call);
}

static void test_local_connections_are_known_as_such(void **state)
{
    struct client local;
    struct client_call call;

    (void)state;
    fixture_connect(&local, true);
    crownest__v1__get_sandbox_response__free_unpacked(get(&local, &call, "x"), NULL);
    client_call_done(&call);
    assert_true(fixture.local);
    crownest__v1__get_sandbox_response__free_unpacked(get(&fixture.client, &call, "x"), NULL);
    client_call_done(&call);
    assert_false(fixture.local);
    client_done(&local);
}

static void test_unknown_method(void **state)
{
    struct client_call call;

    (void)state;
    client_start(&fixture.client, &call, "/crownest.v1.SandboxService/Fly");
    client_finish(&call);
    client_expect(&call, GRPC_STATUS_UNIMPLEMENTED, "METHOD_UNKNOWN", NULL);
    client_call_done(&call);
}

static void test_deadline_ends_a_blocked_call(void **state)
{
    Crownest__V1__GetSandboxRequest request = CROWNEST__V1__GET_SANDBOX_REQUEST__INIT;
    struct client_call call;

    (void)state;
    fixture_hold(true);
    request.sandbox_id = (char *)(uintptr_t) "block";
    client_start_within(&fixture.client, &call, PATH_GET, 300);
    client_send_message(&call, &request.base);
    client_close(&call);
    client_finish(&call);
    assert_int_equal(call.code, GRPC_STATUS_DEADLINE_EXCEEDED);
    client_call_done(&call);
    fixture_hold(false);
}

/* More calls of one method than it may hold workers, and another method still answers. */
static void test_blocked_method_does_not_starve_others(void **state)
{
    Crownest__V1__GetSandboxRequest request = CROWNEST__V1__GET_SANDBOX_REQUEST__INIT;
    struct client_call calls[100], other;
    Crownest__V1__ListSandboxesRequest list = CROWNEST__V1__LIST_SANDBOXES_REQUEST__INIT;

    (void)state;
    fixture_hold(true);
    request.sandbox_id = (char *)(uintptr_t) "block";
    for (unsigned i = 0; i < 100; i++) {
        client_start(&fixture.client, &calls[i], PATH_GET);
        client_send_message(&calls[i], &request.base);
        client_close(&calls[i]);
    }
    fixture_wait(&fixture.blocked, 24);
    assert_null(client_unary(&fixture.client, &other, "/crownest.v1.SandboxService/List",
                             &list.base, &crownest__v1__list_sandboxes_response__descriptor));
    client_expect(&other, GRPC_STATUS_INTERNAL, "TEST_UNSERVED", NULL);
    client_call_done(&other);
    assert_int_equal(fixture_read(&fixture.blocked), 24);
    fixture_hold(false);
    for (unsigned i = 0; i < 100; i++) {
        client_finish(&calls[i]);
        assert_int_equal(calls[i].code, GRPC_STATUS_OK);
        client_call_done(&calls[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_answers),
        FIXTURE_TEST(test_error_carries_details),
        FIXTURE_TEST(test_error_says_whether_to_retry),
        FIXTURE_TEST(test_local_connections_are_known_as_such),
        FIXTURE_TEST(test_unknown_method),
        FIXTURE_TEST(test_deadline_ends_a_blocked_call),
        FIXTURE_TEST(test_blocked_method_does_not_starve_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
