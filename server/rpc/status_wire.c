#include "server/rpc/status_wire.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "private/google_rpc.pb-c.h"
#include "server/util/utf8.h"

#define ERROR_DOMAIN "crownest"
#define PACKED_SIZE 2048 /* more than the bounded strings of a status can fill */
#define DETAILS 5

/* Details in the making: their packed forms share one buffer. */
struct details {
    uint8_t packed[PACKED_SIZE];
    size_t used;
    Google__Protobuf__Any any[DETAILS];
    Google__Protobuf__Any *list[DETAILS];
    size_t count;
};

static void add_detail(struct details *details, const char *type_url,
                       const ProtobufCMessage *message)
{
    size_t size = protobuf_c_message_get_packed_size(message);

    if (details->count == DETAILS || size > sizeof(details->packed) - details->used)
        return;
    Google__Protobuf__Any *any = &details->any[details->count];

    google__protobuf__any__init(any);
    any->type_url = (char *)(uintptr_t)type_url;
    any->value.data = details->packed + details->used;
    any->value.len = protobuf_c_message_pack(message, any->value.data);
    details->used += size;
    details->list[details->count++] = any;
}

static const char *admitted_name(enum status_admitted admitted)
{
    switch (admitted) {
    case STATUS_ADMITTED_YES:
        return "yes";
    case STATUS_ADMITTED_UNKNOWN:
        return "unknown";
    case STATUS_ADMITTED_NO:
        break;
    }
    return "no";
}

static void add_error_info(struct details *details, const struct status *status)
{
    const char *pairs[][2] = {
        {"admitted", admitted_name(status->admitted)},
        {"retryable", status->retryable ? "true" : "false"},
        {"field", status->field},
    };
    size_t count = status->field[0] ? 3 : 2;
    Google__Rpc__ErrorInfo__MetadataEntry entries[3];
    Google__Rpc__ErrorInfo__MetadataEntry *list[3];
    Google__Rpc__ErrorInfo info = GOOGLE__RPC__ERROR_INFO__INIT;

    for (size_t i = 0; i < count; i++) {
        google__rpc__error_info__metadata_entry__init(&entries[i]);
        entries[i].key = (char *)(uintptr_t)pairs[i][0];
        entries[i].value = (char *)(uintptr_t)pairs[i][1];
        list[i] = &entries[i];
    }
    info.reason = (char *)(uintptr_t)(status->reason ? status->reason : "UNSPECIFIED");
    info.domain = (char *)(uintptr_t)ERROR_DOMAIN;
    info.metadata = list;
    info.n_metadata = count;
    add_detail(details, "type.googleapis.com/google.rpc.ErrorInfo", &info.base);
}

static void add_bad_request(struct details *details, const struct status *status)
{
    Google__Rpc__BadRequest__FieldViolation violation =
        GOOGLE__RPC__BAD_REQUEST__FIELD_VIOLATION__INIT;
    Google__Rpc__BadRequest__FieldViolation *list[] = {&violation};
    Google__Rpc__BadRequest bad = GOOGLE__RPC__BAD_REQUEST__INIT;

    violation.field = (char *)(uintptr_t)status->field;
    violation.description = (char *)(uintptr_t)status->message;
    bad.n_field_violations = 1;
    bad.field_violations = list;
    add_detail(details, "type.googleapis.com/google.rpc.BadRequest", &bad.base);
}

static void add_retry_info(struct details *details, const struct status *status)
{
    Google__Protobuf__Duration delay = GOOGLE__PROTOBUF__DURATION__INIT;
    Google__Rpc__RetryInfo retry = GOOGLE__RPC__RETRY_INFO__INIT;

    delay.seconds = status->retry_after_ms / 1000;
    delay.nanos = (int32_t)(status->retry_after_ms % 1000) * 1000000;
    retry.retry_delay = &delay;
    add_detail(details, "type.googleapis.com/google.rpc.RetryInfo", &retry.base);
}

static void add_quota_failure(struct details *details, const struct status *status)
{
    const struct status_quota *quota = &status->quota;
    Google__Rpc__QuotaFailure__Violation__QuotaDimensionsEntry used =
        GOOGLE__RPC__QUOTA_FAILURE__VIOLATION__QUOTA_DIMENSIONS_ENTRY__INIT;
    Google__Rpc__QuotaFailure__Violation__QuotaDimensionsEntry *dimensions[] = {&used};
    Google__Rpc__QuotaFailure__Violation violation = GOOGLE__RPC__QUOTA_FAILURE__VIOLATION__INIT;
    Google__Rpc__QuotaFailure__Violation *list[] = {&violation};
    Google__Rpc__QuotaFailure failure = GOOGLE__RPC__QUOTA_FAILURE__INIT;
    char number[24];

    (void)snprintf(number, sizeof(number), "%" PRIu64, quota->used);
    used.key = (char *)(uintptr_t) "used";
    used.value = number;
    violation.subject = (char *)(uintptr_t)quota->subject;
    violation.description = (char *)(uintptr_t)status->message;
    violation.quota_metric = (char *)(uintptr_t)quota->metric;
    violation.quota_id = (char *)(uintptr_t)status->reason;
    violation.quota_value = quota->limit < INT64_MAX ? (int64_t)quota->limit : INT64_MAX;
    violation.quota_dimensions = dimensions;
    violation.n_quota_dimensions = 1;
    failure.violations = list;
    failure.n_violations = 1;
    add_detail(details, "type.googleapis.com/google.rpc.QuotaFailure", &failure.base);
}

static void add_request_info(struct details *details, const char *request_id)
{
    Google__Rpc__RequestInfo info = GOOGLE__RPC__REQUEST_INFO__INIT;

    info.request_id = (char *)(uintptr_t)request_id;
    add_detail(details, "type.googleapis.com/google.rpc.RequestInfo", &info.base);
}

static grpc_slice pack_status(const struct status *status, const struct details *details)
{
    Google__Rpc__Status message = GOOGLE__RPC__STATUS__INIT;

    message.code = (int32_t)status->code;
    message.message = (char *)(uintptr_t)status->message;
    message.n_details = details->count;
    message.details = (Google__Protobuf__Any **)(uintptr_t)details->list;
    grpc_slice slice = grpc_slice_malloc(google__rpc__status__get_packed_size(&message));

    (void)google__rpc__status__pack(&message, GRPC_SLICE_START_PTR(slice));
    return slice;
}

/* Bounded strings may have been cut within a character, and proto3 clients refuse such text. */
static void cut_to_utf8(char *text)
{
    size_t size = strlen(text);

    while (!utf8_valid(bytes_of(text, size)))
        size--;
    text[size] = '\0';
}

void status_wire_make(const struct status *status, const char *request_id,
                      struct status_wire *ret_wire)
{
    struct status clean = *status;
    struct details details;

    details.used = 0;
    details.count = 0;
    cut_to_utf8(clean.message);
    cut_to_utf8(clean.field);
    cut_to_utf8(clean.quota.subject);
    ret_wire->code = (grpc_status_code)clean.code;
    ret_wire->message = grpc_slice_from_copied_string(clean.message);
    ret_wire->details = grpc_empty_slice();
    if (status_is_ok(&clean))
        return;
    add_error_info(&details, &clean);
    if (clean.field[0])
        add_bad_request(&details, &clean);
    if (clean.quota.metric)
        add_quota_failure(&details, &clean);
    if (clean.retry_after_ms)
        add_retry_info(&details, &clean);
    add_request_info(&details, request_id);
    ret_wire->details = pack_status(&clean, &details);
}

void status_wire_done(struct status_wire *wire)
{
    grpc_slice_unref(wire->message);
    grpc_slice_unref(wire->details);
}
