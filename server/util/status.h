/*
 * How a call ended: what a handler returns and what exactly one function (rpc/status_wire.c) turns
 * into google.rpc.Status. A value, copied freely; its strings are bounded.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* gRPC's status codes, by their public numbers. */
enum status_code {
    STATUS_OK = 0,
    STATUS_CANCELLED = 1,
    STATUS_UNKNOWN = 2,
    STATUS_INVALID_ARGUMENT = 3,
    STATUS_DEADLINE_EXCEEDED = 4,
    STATUS_NOT_FOUND = 5,
    STATUS_ALREADY_EXISTS = 6,
    STATUS_PERMISSION_DENIED = 7,
    STATUS_RESOURCE_EXHAUSTED = 8,
    STATUS_FAILED_PRECONDITION = 9,
    STATUS_ABORTED = 10,
    STATUS_OUT_OF_RANGE = 11,
    STATUS_UNIMPLEMENTED = 12,
    STATUS_INTERNAL = 13,
    STATUS_UNAVAILABLE = 14,
    STATUS_DATA_LOSS = 15,
    STATUS_UNAUTHENTICATED = 16,
};

/* Whether the call changed anything. */
enum status_admitted { STATUS_ADMITTED_NO, STATUS_ADMITTED_YES, STATUS_ADMITTED_UNKNOWN };

/* Which bound was met, for google.rpc.QuotaFailure. */
struct status_quota {
    const char *metric; /* a literal such as "sandboxes"; NULL: the failure is of another kind */
    char subject[48];   /* whose bound it is: "project:prj_…" */
    uint64_t limit;
    uint64_t used;
};

struct status {
    enum status_code code;
    enum status_admitted admitted;
    bool retryable;
    uint32_t retry_after_ms; /* 0: the client's own backoff */
    const char *reason;      /* a literal such as "TEMPLATE_NOT_FOUND"; NULL when OK */
    char field[64];          /* the request's field at fault, or empty */
    char message[320];       /* what is wrong and what to do */
    struct status_quota quota;
};

#define STATUS_OK_VALUE ((struct status){.code = STATUS_OK})

static inline bool status_is_ok(const struct status *status)
{
    return status->code == STATUS_OK;
}

/* An error; reason must be a literal. */
struct status status_error(enum status_code code, const char *reason, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* INVALID_ARGUMENT at a field; reason must be a literal. */
struct status status_invalid(const char *field, const char *reason, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/*
 * RESOURCE_EXHAUSTED at a bound that somebody has set; reason must be a literal. The message says
 * who can raise it. Not retryable: a rate sets that, and retry_after_ms, itself.
 */
struct status status_quota(const char *reason, const struct status_quota *quota, const char *format,
                           ...) __attribute__((format(printf, 3, 4)));

/* The same status with a field. */
struct status status_at(struct status status, const char *field);

/* UNAVAILABLE, retryable; nothing was changed. */
struct status status_unavailable(const char *reason, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The same where it is not known whether anything was changed. */
struct status status_unsure(const char *reason, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
