#include "server/meter/receipt.h"

#include <errno.h>

#include "server/meter/meter_private.h"
#include "server/store/record.h"
#include "server/util/cleanup.h"
#include "server/util/prototime.h"

#define ENDED CROWNEST__RECORDS__METER_STATE__METER_STATE_ENDED
#define PAUSED CROWNEST__RECORDS__METER_STATE__METER_STATE_PAUSED

Crownest__V1__Pricing *receipt_pricing(const struct pricing *pricing, struct arena *arena)
{
    Crownest__V1__Pricing *message = arena_alloc(arena, sizeof(*message));

    crownest__v1__pricing__init(message);
    message->version = arena_strdup(arena, pricing->version);
    message->unit_hour_usd_nanos = pricing->unit_hour_usd_nanos;
    message->paused_millis = pricing->paused_millis;
    message->current = pricing == pricing_current();
    return message;
}

static Crownest__V1__Interval *interval_new(const Crownest__Records__Meter *part, size_t at,
                                            uint64_t end_us, struct arena *arena)
{
    const Crownest__Records__MeterPoint *point = part->points[at];
    Crownest__V1__Interval *interval = arena_alloc(arena, sizeof(*interval));
    bool open = at + 1 == part->n_points;
    uint64_t until_us = open ? end_us : part->points[at + 1]->at_us;

    crownest__v1__interval__init(interval);
    interval->start_time = prototime_from_us(arena, part->anchor_wall_us + point->at_us);
    if (!open)
        interval->end_time = prototime_from_us(arena, part->anchor_wall_us + until_us);
    interval->paused = point->state == PAUSED;
    interval->duration_usec = until_us > point->at_us ? until_us - point->at_us : 0;
    return interval;
}

static void add_intervals(Crownest__V1__Receipt *receipt, const Crownest__Records__Meter *part,
                          uint64_t end_us, struct arena *arena)
{
    receipt->intervals = arena_alloc(arena, (part->n_points + 1) * sizeof(*receipt->intervals));
    for (size_t i = 0; i < part->n_points && part->points[i]->state != ENDED; i++) {
        Crownest__V1__Interval *interval = interval_new(part, i, end_us, arena);

        receipt->intervals[receipt->n_intervals++] = interval;
        if (interval->paused)
            receipt->paused_usec += interval->duration_usec;
        else
            receipt->running_usec += interval->duration_usec;
    }
}

static void add_bytes(Crownest__V1__Receipt *receipt, const struct meter_bytes *bytes)
{
    receipt->log_bytes += bytes->log;
    receipt->artifact_bytes += bytes->artifact;
    receipt->egress_bytes += bytes->egress;
}

static Crownest__V1__Receipt *receipt_new(const Crownest__Records__SandboxRecord *record,
                                          struct arena *arena)
{
    const Crownest__Records__Meter *part = record->meter;
    const struct pricing *pricing = pricing_find(part->pricing_version);
    Crownest__V1__Receipt *receipt = arena_alloc(arena, sizeof(*receipt));

    crownest__v1__receipt__init(receipt);
    receipt->sandbox_id = record->sandbox->sandbox_id;
    receipt->project_id = record->sandbox->project_id;
    receipt->key_id = part->key_id;
    receipt->pricing = receipt_pricing(pricing, arena);
    receipt->pricing->version = part->pricing_version;
    receipt->rate_millis = part->rate_millis;
    receipt->final = record->sandbox->end_time != NULL;
    add_intervals(receipt, part, meter_now(part), arena);
    amount_units units =
        amount_used(part->rate_millis, pricing, receipt->running_usec, receipt->paused_usec);

    receipt->compute_unit_usec = amount_unit_us(units);
    receipt->amount_usd_micros = amount_usd_micros(amount_cost(units, pricing));
    for (size_t i = 0; i < part->n_bytes; i++) {
        struct meter_bytes bytes = {.log = part->bytes[i]->log_bytes,
                                    .artifact = part->bytes[i]->artifact_bytes,
                                    .egress = part->bytes[i]->egress_bytes};

        add_bytes(receipt, &bytes);
    }
    return receipt;
}

/* Whether it lives. */
static bool add_living_bytes(struct meter *meter, Crownest__V1__Receipt *receipt)
{
    struct metered *metered;

    lock_scope(&meter->mutex);
    HASH_FIND_STR(meter->living, receipt->sandbox_id, metered);
    for (size_t i = 0; metered && i < metered->day_count; i++)
        add_bytes(receipt, &metered->days[i].bytes);
    return metered != NULL;
}

static struct status not_found(int error)
{
    if (error != -ENOENT)
        return status_error(STATUS_DATA_LOSS, "RECORD_DAMAGED",
                            "the sandbox's record cannot be read, or holds nothing to bill by");
    return status_at(status_error(STATUS_NOT_FOUND, "SANDBOX_NOT_FOUND",
                                  "no sandbox with this id in this project"),
                     "sandbox_id");
}

struct status receipt_get(struct meter *meter, const char *project_id, const char *sandbox_id,
                          struct arena *arena, Crownest__V1__Receipt **ret_receipt)
{
    struct schema_key key = schema_key("s", project_id, sandbox_id, NULL);
    Crownest__V1__Receipt *receipt = NULL;
    Crownest__Records__SandboxRecord *record;
    bool known = false;

    if (!id_valid("sbx_", sandbox_id))
        return not_found(-ENOENT);
    /* It may end between the two looks: then its record has the bytes. */
    for (int i = 0; i < 2 && !known; i++) {
        int r = record_get(meter->store, &key, &crownest__records__sandbox_record__descriptor,
                           arena, &record);

        if (r < 0 || !record->sandbox || !record->meter)
            return not_found(r < 0 ? r : -EUCLEAN);
        receipt = receipt_new(record, arena);
        known = receipt->final || add_living_bytes(meter, receipt);
    }
    *ret_receipt = receipt;
    return STATUS_OK_VALUE;
}
