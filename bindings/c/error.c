#include "bindings/c/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "private/google_rpc.pb-c.h"

#define CODE_UNAVAILABLE 14
#define RETRY_AFTER_MAX_MS (24U * 3600 * 1000)

static void copy_text(char *to, size_t size, const char *from)
{
    (void)snprintf(to, size, "%s", from);
}

static void read_error_info(const ProtobufCBinaryData *value, struct crownest_error *error)
{
    Google__Rpc__ErrorInfo *info = google__rpc__error_info__unpack(NULL, value->len, value->data);

    if (!info)
        return;
    copy_text(error->reason, sizeof(error->reason), info->reason);
    for (size_t i = 0; i < info->n_metadata; i++) {
        const char *key = info->metadata[i]->key;

        if (!strcmp(key, "retryable"))
            error->retryable = !strcmp(info->metadata[i]->value, "true");
        else if (!strcmp(key, "admitted"))
            copy_text(error->admitted, sizeof(error->admitted), info->metadata[i]->value);
    }
    google__rpc__error_info__free_unpacked(info, NULL);
}

static void read_bad_request(const ProtobufCBinaryData *value, struct crownest_error *error)
{
    Google__Rpc__BadRequest *bad = google__rpc__bad_request__unpack(NULL, value->len, value->data);

    if (!bad)
        return;
    if (bad->n_field_violations)
        copy_text(error->field, sizeof(error->field), bad->field_violations[0]->field);
    google__rpc__bad_request__free_unpacked(bad, NULL);
}

static void read_request_info(const ProtobufCBinaryData *value, struct crownest_error *error)
{
    Google__Rpc__RequestInfo *info =
        google__rpc__request_info__unpack(NULL, value->len, value->data);

    if (!info)
        return;
    copy_text(error->request_id, sizeof(error->request_id), info->request_id);
    google__rpc__request_info__free_unpacked(info, NULL);
}

static void read_retry_info(const ProtobufCBinaryData *value, struct crownest_error *error)
{
    Google__Rpc__RetryInfo *info = google__rpc__retry_info__unpack(NULL, value->len, value->data);

    if (!info)
        return;
    if (info->retry_delay && info->retry_delay->seconds >= 0 && info->retry_delay->nanos >= 0) {
        int64_t seconds = info->retry_delay->seconds;

        error->retry_after_ms = RETRY_AFTER_MAX_MS;
        if (seconds < RETRY_AFTER_MAX_MS / 1000)
            error->retry_after_ms = (uint32_t)(seconds * 1000 + info->retry_delay->nanos / 1000000);
    }
    google__rpc__retry_info__free_unpacked(info, NULL);
}

static void read_quota_failure(const ProtobufCBinaryData *value, struct crownest_error *error)
{
    Google__Rpc__QuotaFailure *failure =
        google__rpc__quota_failure__unpack(NULL, value->len, value->data);

    if (!failure)
        return;
    if (failure->n_violations) {
        const Google__Rpc__QuotaFailure__Violation *violation = failure->violations[0];

        copy_text(error->quota_metric, sizeof(error->quota_metric), violation->quota_metric);
        copy_text(error->quota_subject, sizeof(error->quota_subject), violation->subject);
        if (violation->quota_value > 0)
            error->quota_limit = (uint64_t)violation->quota_value;
        for (size_t i = 0; i < violation->n_quota_dimensions; i++) {
            if (!strcmp(violation->quota_dimensions[i]->key, "used"))
                error->quota_used = strtoull(violation->quota_dimensions[i]->value, NULL, 10);
        }
    }
    google__rpc__quota_failure__free_unpacked(failure, NULL);
}

static const struct {
    const char *type;
    void (*read)(const ProtobufCBinaryData *value, struct crownest_error *error);
} detail_readers[] = {
    {"google.rpc.ErrorInfo", read_error_info},       {"google.rpc.BadRequest", read_bad_request},
    {"google.rpc.QuotaFailure", read_quota_failure}, {"google.rpc.RequestInfo", read_request_info},
    {"google.rpc.RetryInfo", read_retry_info},
};

static void read_detail(const Google__Protobuf__Any *any, struct crownest_error *error)
{
    const char *slash = strrchr(any->type_url, '/');
    const char *type = slash ? slash + 1 : any->type_url;

    for (size_t i = 0; i < sizeof(detail_readers) / sizeof(detail_readers[0]); i++)
        if (!strcmp(type, detail_readers[i].type))
            detail_readers[i].read(&any->value, error);
}

void crownest_error_read(int code, const void *message, size_t message_len, const void *details,
                         size_t details_len, struct crownest_error *ret_error)
{
    size_t len =
        message_len < sizeof(ret_error->message) ? message_len : sizeof(ret_error->message) - 1;

    memset(ret_error, 0, sizeof(*ret_error));
    ret_error->code = code;
    ret_error->retryable = code == CODE_UNAVAILABLE;
    if (len)
        memcpy(ret_error->message, message, len);
    if (!details_len)
        return;
    Google__Rpc__Status *status = google__rpc__status__unpack(NULL, details_len, details);
    if (!status)
        return;
    for (size_t i = 0; i < status->n_details; i++)
        read_detail(status->details[i], ret_error);
    google__rpc__status__free_unpacked(status, NULL);
}

int crownest_error_local(struct crownest_error *ret_error, int err, const char *format, ...)
{
    va_list args;

    memset(ret_error, 0, sizeof(*ret_error));
    va_start(args, format);
    (void)vsnprintf(ret_error->message, sizeof(ret_error->message), format, args);
    va_end(args);
    return -err;
}

const char *crownest_code_name(int code)
{
    static const char *const names[] = {
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    };

    if (code < 0 || (size_t)code >= sizeof(names) / sizeof(names[0]))
        return "UNKNOWN";
    return names[code];
}
