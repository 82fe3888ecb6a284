#include "server/util/status.h"

#include <stdarg.h>
#include <stdio.h>

static struct status status_make(enum status_code code, const char *reason, const char *format,
                                 va_list args)
{
    struct status status = {.code = code, .reason = reason};

    (void)vsnprintf(status.message, sizeof(status.message), format, args);
    return status;
}

struct status status_error(enum status_code code, const char *reason, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    struct status status = status_make(code, reason, format, args);
    va_end(args);
    return status;
}

struct status status_invalid(const char *field, const char *reason, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    struct status status = status_make(STATUS_INVALID_ARGUMENT, reason, format, args);
    va_end(args);
    return status_at(status, field);
}

struct status status_quota(const char *reason, const struct status_quota *quota, const char *format,
                           ...)
{
    va_list args;

    va_start(args, format);
    struct status status = status_make(STATUS_RESOURCE_EXHAUSTED, reason, format, args);
    va_end(args);
    status.quota = *quota;
    return status;
}

struct status status_at(struct status status, const char *field)
{
    (void)snprintf(status.field, sizeof(status.field), "%s", field);
    return status;
}

struct status status_unavailable(const char *reason, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    struct status status = status_make(STATUS_UNAVAILABLE, reason, format, args);
    va_end(args);
    status.retryable = true;
    return status;
}

struct status status_unsure(const char *reason, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    struct status status = status_make(STATUS_UNAVAILABLE, reason, format, args);
    va_end(args);
    status.retryable = true;
    status.admitted = STATUS_ADMITTED_UNKNOWN;
    return status;
}
