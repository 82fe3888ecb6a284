/*
 * How protoc-c turns proto names into C names. The rules are its own and must be met exactly: a run
 * of capitals counts as one word, so WhoAmIRequest becomes who_am_irequest.
 *
 * Each function writes a string into `out` of `size` bytes and returns 0, or -EINVAL when it does
 * not fit.
 */
#pragma once

#include <stddef.h>

/* StreamLogs → stream_logs. */
int naming_snake(const char *camel, char *out, size_t size);

/* crownest.v1.KillSandboxRequest → Crownest__V1__KillSandboxRequest. */
int naming_c_type(const char *proto_name, char *out, size_t size);

/* crownest.v1.KillSandboxRequest → crownest__v1__kill_sandbox_request. */
int naming_c_symbol(const char *proto_name, char *out, size_t size);
