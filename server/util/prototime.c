#include "server/util/prototime.h"

#include <errno.h>

Google__Protobuf__Timestamp *prototime_from_us(struct arena *arena, uint64_t us)
{
    Google__Protobuf__Timestamp *time = arena_alloc(arena, sizeof(*time));

    google__protobuf__timestamp__init(time);
    time->seconds = (int64_t)(us / 1000000);
    time->nanos = (int32_t)(us % 1000000) * 1000;
    return time;
}

Google__Protobuf__Timestamp *prototime_from_ms(struct arena *arena, uint64_t ms)
{
    return prototime_from_us(arena, ms * 1000);
}

uint64_t prototime_ms(const Google__Protobuf__Timestamp *time)
{
    if (!time || time->seconds < 0)
        return 0;
    return (uint64_t)time->seconds * 1000 + (uint64_t)time->nanos / 1000000;
}

Google__Protobuf__Duration *protoduration_from_us(struct arena *arena, uint64_t us)
{
    Google__Protobuf__Duration *duration = arena_alloc(arena, sizeof(*duration));

    google__protobuf__duration__init(duration);
    duration->seconds = (int64_t)(us / 1000000);
    duration->nanos = (int32_t)(us % 1000000) * 1000;
    return duration;
}

int protoduration_ms(const Google__Protobuf__Duration *duration, uint64_t max_ms, uint64_t *ret_ms)
{
    if (duration->seconds < 0 || duration->nanos < 0 || duration->nanos > 999999999)
        return -ERANGE;
    if ((uint64_t)duration->seconds > max_ms / 1000)
        return -ERANGE;
    uint64_t ms =
        (uint64_t)duration->seconds * 1000 + ((uint64_t)duration->nanos + 999999) / 1000000;

    if (ms == 0 || ms > max_ms)
        return -ERANGE;
    *ret_ms = ms;
    return 0;
}
