/* A client reads reason, field, request id and retry advice from the status details. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bindings/c/error.h"
#include "private/google_rpc.pb-c.h"

#define NOT_FOUND 5
#define UNAVAILABLE 14

/* Packs a message into an Any, as the server does. The value is the caller's to free. */
static void pack_any(const ProtobufCMessage *message, const char *url, Google__Protobuf__Any *any)
{
    google__protobuf__any__init(any);
    any->type_url = (char *)url;
    any->value.len = protobuf_c_message_get_packed_size(message);
    any->value.data = malloc(any->value.len + 1);
    (void)protobuf_c_message_pack(message, any->value.data);
}

static size_t pack_status(Google__Protobuf__Any **details, size_t count, uint8_t *out)
{
    Google__Rpc__Status status = GOOGLE__RPC__STATUS__INIT;

    status.code = NOT_FOUND;
    status.details = details;
    status.n_details = count;
    return google__rpc__status__pack(&status, out);
}

static void all_details_are_read(void **state)
{
    Google__Rpc__ErrorInfo__MetadataEntry retryable = GOOGLE__RPC__ERROR_INFO__METADATA_ENTRY__INIT;
    Google__Rpc__ErrorInfo__MetadataEntry admitted = GOOGLE__RPC__ERROR_INFO__METADATA_ENTRY__INIT;
    Google__Rpc__ErrorInfo__MetadataEntry *metadata[] = {&retryable, &admitted};
    Google__Rpc__ErrorInfo info = GOOGLE__RPC__ERROR_INFO__INIT;
    Google__Rpc__BadRequest__FieldViolation violation =
        GOOGLE__RPC__BAD_REQUEST__FIELD_VIOLATION__INIT;
    Google__Rpc__BadRequest__FieldViolation *violations[] = {&violation};
    Google__Rpc__BadRequest bad = GOOGLE__RPC__BAD_REQUEST__INIT;
    Google__Rpc__RequestInfo request = GOOGLE__RPC__REQUEST_INFO__INIT;
    Google__Protobuf__Duration delay = GOOGLE__PROTOBUF__DURATION__INIT;
    Google__Rpc__RetryInfo retry = GOOGLE__RPC__RETRY_INFO__INIT;
    Google__Protobuf__Any any[4];
    Google__Protobuf__Any *details[] = {&any[0], &any[1], &any[2], &any[3]};
    struct crownest_error error;
    uint8_t bytes[1024];

    (void)state;
    retryable.key = (char *)"retryable";
    retryable.value = (char *)"true";
    admitted.key = (char *)"admitted";
    admitted.value = (char *)"no";
    info.reason = (char *)"TEMPLATE_NOT_FOUND";
    info.metadata = metadata;
    info.n_metadata = 2;
    violation.field = (char *)"template";
    bad.field_violations = violations;
    bad.n_field_violations = 1;
    request.request_id = (char *)"req_1";
    delay.seconds = 2;
    delay.nanos = 500000000;
    retry.retry_delay = &delay;
    pack_any(&info.base, "type.googleapis.com/google.rpc.ErrorInfo", &any[0]);
    pack_any(&bad.base, "type.googleapis.com/google.rpc.BadRequest", &any[1]);
    pack_any(&request.base, "type.googleapis.com/google.rpc.RequestInfo", &any[2]);
    pack_any(&retry.base, "type.googleapis.com/google.rpc.RetryInfo", &any[3]);
    size_t len = pack_status(details, 4, bytes);
    for (size_t i = 0; i < 4; i++)
        free(any[i].value.data);

    crownest_error_read(NOT_FOUND, "no such thing", 7, bytes, len, &error);
    assert_int_equal(error.code, NOT_FOUND);
    assert_string_equal(error.message, "no such");
    assert_string_equal(error.reason, "TEMPLATE_NOT_FOUND");
    assert_string_equal(error.field, "template");
    assert_string_equal(error.request_id, "req_1");
    assert_string_equal(error.admitted, "no");
    assert_true(error.retryable);
    assert_int_equal(error.retry_after_ms, 2500);
}

static void broken_details_leave_the_code(void **state)
{
    struct crownest_error error;

    (void)state;
    crownest_error_read(NOT_FOUND, "gone", 4, "\x1a\xff\xff", 3, &error);
    assert_int_equal(error.code, NOT_FOUND);
    assert_string_equal(error.message, "gone");
    assert_string_equal(error.reason, "");
    assert_false(error.retryable);
}

static void a_broken_detail_does_not_hide_the_others(void **state)
{
    Google__Rpc__RequestInfo request = GOOGLE__RPC__REQUEST_INFO__INIT;
    Google__Protobuf__Any any[2];
    Google__Protobuf__Any *details[] = {&any[0], &any[1]};
    struct crownest_error error;
    uint8_t bytes[256];

    (void)state;
    request.request_id = (char *)"req_2";
    pack_any(&request.base, "google.rpc.ErrorInfo", &any[0]);
    any[0].value.data[0] = 0xff;
    pack_any(&request.base, "google.rpc.RequestInfo", &any[1]);
    size_t len = pack_status(details, 2, bytes);
    free(any[0].value.data);
    free(any[1].value.data);
    crownest_error_read(NOT_FOUND, "", 0, bytes, len, &error);
    assert_string_equal(error.reason, "");
    assert_string_equal(error.request_id, "req_2");
}

static void long_texts_are_cut(void **state)
{
    char message[2048];
    struct crownest_error error;

    (void)state;
    memset(message, 'x', sizeof(message));
    crownest_error_read(UNAVAILABLE, message, sizeof(message), NULL, 0, &error);
    assert_int_equal(strlen(error.message), sizeof(error.message) - 1);
    assert_true(error.retryable);
}

static void codes_have_names(void **state)
{
    (void)state;
    assert_string_equal(crownest_code_name(NOT_FOUND), "NOT_FOUND");
    assert_string_equal(crownest_code_name(16), "UNAUTHENTICATED");
    assert_string_equal(crownest_code_name(17), "UNKNOWN");
    assert_string_equal(crownest_code_name(-1), "UNKNOWN");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_details_are_read),
        cmocka_unit_test(broken_details_leave_the_code),
        cmocka_unit_test(a_broken_detail_does_not_hide_the_others),
        cmocka_unit_test(long_texts_are_cut),
        cmocka_unit_test(codes_have_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
