#include "server/meter/timeline.h"

#include <string.h>

#define RUNNING CROWNEST__RECORDS__METER_STATE__METER_STATE_RUNNING
#define PAUSED CROWNEST__RECORDS__METER_STATE__METER_STATE_PAUSED
#define ENDED CROWNEST__RECORDS__METER_STATE__METER_STATE_ENDED

static const Crownest__Records__MeterPoint *last(const Crownest__Records__Meter *meter)
{
    return meter->n_points > 0 ? meter->points[meter->n_points - 1] : NULL;
}

static void append(Crownest__Records__Meter *meter, Crownest__Records__MeterState state,
                   uint64_t at_us, struct arena *arena)
{
    Crownest__Records__MeterPoint **points =
        arena_alloc(arena, (meter->n_points + 1) * sizeof(*points));
    Crownest__Records__MeterPoint *point = arena_alloc(arena, sizeof(*point));

    if (meter->n_points > 0)
        memcpy(points, meter->points, meter->n_points * sizeof(*points));
    crownest__records__meter_point__init(point);
    point->at_us = at_us;
    point->state = state;
    points[meter->n_points++] = point;
    meter->points = points;
}

void timeline_begin(Crownest__Records__Meter *meter, uint64_t wall_us, uint64_t boot_us,
                    const char *boot_id, struct arena *arena)
{
    meter->anchor_wall_us = wall_us;
    meter->anchor_boot_us = boot_us;
    meter->boot_id = arena_strdup(arena, boot_id);
    meter->n_points = 0;
    append(meter, RUNNING, 0, arena);
}

void timeline_turn(Crownest__Records__Meter *meter, Crownest__Records__MeterState state,
                   uint64_t at_us, struct arena *arena)
{
    const Crownest__Records__MeterPoint *before = last(meter);

    if (!before || before->state == ENDED || before->state == state)
        return;
    append(meter, state, at_us > before->at_us ? at_us : before->at_us, arena);
}

void timeline_take_back(Crownest__Records__Meter *meter, Crownest__Records__MeterState state)
{
    if (meter->n_points > 1 && last(meter)->state == state)
        meter->n_points--;
}

Crownest__Records__MeterState timeline_state(const Crownest__Records__Meter *meter)
{
    return meter->n_points > 0 ? last(meter)->state
                               : CROWNEST__RECORDS__METER_STATE__METER_STATE_UNSPECIFIED;
}

uint64_t timeline_at(const Crownest__Records__Meter *meter, uint64_t boot_us)
{
    const Crownest__Records__MeterPoint *before = last(meter);
    uint64_t at_us = boot_us > meter->anchor_boot_us ? boot_us - meter->anchor_boot_us : 0;

    if (!before)
        return 0;
    return at_us > before->at_us ? at_us : before->at_us;
}

uint64_t timeline_end(const Crownest__Records__Meter *meter, uint64_t now_us)
{
    return timeline_state(meter) == ENDED ? last(meter)->at_us : now_us;
}

struct timeline_sum timeline_between(const Crownest__Records__Meter *meter, int64_t from_us,
                                     int64_t to_us)
{
    struct timeline_sum sum = {0};

    for (size_t i = 0; i < meter->n_points && meter->points[i]->state != ENDED; i++) {
        int64_t start = (int64_t)meter->points[i]->at_us;
        int64_t end = i + 1 < meter->n_points ? (int64_t)meter->points[i + 1]->at_us : to_us;

        start = start > from_us ? start : from_us;
        end = end < to_us ? end : to_us;
        if (end <= start)
            continue;
        if (meter->points[i]->state == RUNNING)
            sum.running_us += (uint64_t)(end - start);
        else
            sum.paused_us += (uint64_t)(end - start);
    }
    return sum;
}

const char *timeline_fault(const Crownest__Records__Meter *meter, bool ended)
{
    for (size_t i = 0; i < meter->n_points; i++) {
        const Crownest__Records__MeterPoint *point = meter->points[i];
        const Crownest__Records__MeterPoint *before = i > 0 ? meter->points[i - 1] : NULL;

        if (point->state < RUNNING || point->state > ENDED)
            return "an interval of no known kind";
        if (!before && (point->at_us != 0 || point->state != RUNNING))
            return "a hole at the beginning";
        if (before && point->at_us < before->at_us)
            return "intervals overlap";
        if (before && (before->state == point->state || before->state == ENDED))
            return "an interval is followed by another of its kind, or by none";
    }
    if (meter->n_points > 0 && ended != (timeline_state(meter) == ENDED))
        return ended ? "it has ended, and its last interval has not"
                     : "it lives, and its last interval has ended";
    return NULL;
}
