/* Milliseconds and microseconds as protobuf's Timestamp and Duration. Results live in the arena. */
#pragma once

#include <google/protobuf/duration.pb-c.h>
#include <google/protobuf/timestamp.pb-c.h>
#include <stdint.h>

#include "server/util/arena.h"

Google__Protobuf__Timestamp *prototime_from_us(struct arena *arena, uint64_t us);
Google__Protobuf__Timestamp *prototime_from_ms(struct arena *arena, uint64_t ms);
/* 0 for an unset one. */
uint64_t prototime_ms(const Google__Protobuf__Timestamp *time);

Google__Protobuf__Duration *protoduration_from_us(struct arena *arena, uint64_t us);
/*
 * Milliseconds, rounded up. Returns 0, or -ERANGE when it is malformed, not more than zero, or more
 * than max_ms.
 */
int protoduration_ms(const Google__Protobuf__Duration *duration, uint64_t max_ms, uint64_t *ret_ms);
