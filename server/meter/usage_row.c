#include "server/meter/usage_row.h"

#include <stdio.h>

#include "server/meter/day.h"
#include "server/meter/timeline.h"
#include "server/store/record.h"

struct walk {
    const Crownest__Records__Meter *part;
    usage_row_visit_fn *visit;
    void *arg;
    size_t bytes_at; /* those before were visited */
    bool first;
};

static void visit_day(struct walk *walk, uint32_t day, struct timeline_sum sum)
{
    const Crownest__Records__Meter *part = walk->part;
    Crownest__Records__UsageRow row = CROWNEST__RECORDS__USAGE_ROW__INIT;

    row.key_id = part->key_id;
    row.pricing_version = part->pricing_version;
    row.rate_millis = part->rate_millis;
    row.running_us = sum.running_us;
    row.paused_us = sum.paused_us;
    row.first = walk->first;
    if (walk->bytes_at < part->n_bytes && part->bytes[walk->bytes_at]->day == day) {
        const Crownest__Records__MeterBytes *bytes = part->bytes[walk->bytes_at++];

        row.log_bytes = bytes->log_bytes;
        row.artifact_bytes = bytes->artifact_bytes;
        row.egress_bytes = bytes->egress_bytes;
    }
    walk->first = false;
    walk->visit(walk->arg, day, &row);
}

/* A step of the wall clock may have put bytes on days that the timeline does not touch. */
static void visit_bytes_before(struct walk *walk, uint32_t day)
{
    while (walk->bytes_at < walk->part->n_bytes && walk->part->bytes[walk->bytes_at]->day < day)
        visit_day(walk, walk->part->bytes[walk->bytes_at]->day, (struct timeline_sum){0});
}

void usage_row_each(const Crownest__Records__Meter *part, uint64_t to_us, usage_row_visit_fn *visit,
                    void *arg)
{
    struct walk walk = {.part = part, .visit = visit, .arg = arg, .first = true};
    uint64_t end_us = timeline_end(part, to_us);

    if (part->n_points > 0) {
        uint64_t start = day_start(part->anchor_wall_us);

        for (; start <= part->anchor_wall_us + end_us; start += DAY_US) {
            int64_t from_us = (int64_t)(start - part->anchor_wall_us);

            visit_bytes_before(&walk, day_number(start));
            visit_day(&walk, day_number(start),
                      timeline_between(part, from_us,
                                       from_us + (int64_t)DAY_US < (int64_t)end_us
                                           ? from_us + (int64_t)DAY_US
                                           : (int64_t)end_us));
        }
    }
    visit_bytes_before(&walk, UINT32_MAX);
}

struct putting {
    struct store_batch *batch;
    const Crownest__V1__Sandbox *sandbox;
};

static void put(void *arg, uint32_t day, const Crownest__Records__UsageRow *row)
{
    const struct putting *putting = arg;
    struct schema_key key =
        usage_row_key(putting->sandbox->project_id, day, putting->sandbox->sandbox_id);

    record_put(putting->batch, &key, &row->base);
}

struct schema_key usage_row_key(const char *project_id, uint32_t day, const char *sandbox_id)
{
    char text[16];

    (void)snprintf(text, sizeof(text), "%08u", day);
    return schema_key("ud", project_id, text, sandbox_id);
}

void usage_row_put_all(struct store_batch *batch, const Crownest__V1__Sandbox *sandbox,
                       const Crownest__Records__Meter *part)
{
    struct putting putting = {.batch = batch, .sandbox = sandbox};

    usage_row_each(part, 0, put, &putting);
}
