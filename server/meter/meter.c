#include "server/meter/meter_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/meter/usage_row.h"
#include "server/util/cleanup.h"
#include "server/util/clock.h"
#include "server/util/cond.h"
#include "server/util/limits.h"

#define ALIVE_MS 1000
#define US_PER_MS 1000

/* The record's part on its own, for as long as the sandbox lives. */
static Crownest__Records__Meter *part_copy(const Crownest__Records__Meter *part)
{
    size_t size = crownest__records__meter__get_packed_size(part);
    cleanup_free uint8_t *packed = malloc(size + 1);

    if (!packed)
        abort();
    (void)crownest__records__meter__pack(part, packed);
    Crownest__Records__Meter *copy = crownest__records__meter__unpack(NULL, size, packed);

    if (!copy)
        abort();
    return copy;
}

Crownest__Records__Meter *meter_part(const Crownest__V1__Resources *resources, const char *key_id,
                                     struct arena *arena)
{
    Crownest__Records__Meter *part = arena_alloc(arena, sizeof(*part));

    crownest__records__meter__init(part);
    part->key_id = arena_strdup(arena, key_id);
    part->pricing_version = arena_strdup(arena, pricing_current()->version);
    part->rate_millis = amount_rate_millis(resources->cpu_millis, resources->memory_bytes);
    return part;
}

void meter_begin(const struct meter *meter, Crownest__Records__Meter *part, uint64_t due_ms,
                 struct arena *arena)
{
    uint64_t boot_us = clock_boot_us();

    timeline_begin(part, clock_wall_us(), boot_us, meter->boot_id, arena);
    part->expire_us = timeline_at(part, due_ms * US_PER_MS);
}

uint64_t meter_now(const Crownest__Records__Meter *part)
{
    return timeline_at(part, clock_boot_us());
}

uint64_t meter_lost(const struct meter *meter, const Crownest__Records__Meter *part, bool alive)
{
    uint64_t at_us = timeline_at(part, 0);

    if (part->asked_us)
        at_us = part->asked_us;
    else if (alive)
        at_us = meter_now(part);
    else if (strcmp(part->boot_id, meter->alive_boot_id) == 0)
        at_us = timeline_at(part, meter->alive_us);
    return at_us < part->expire_us ? at_us : part->expire_us;
}

/* Sandboxes */

static struct metered *metered_new(struct meter *meter,
                                   const Crownest__Records__SandboxRecord *record)
{
    struct metered *metered = calloc(1, sizeof(*metered));

    if (!metered)
        abort();
    metered->meter = meter;
    metered->part = part_copy(record->meter);
    (void)snprintf(metered->sandbox_id, sizeof(metered->sandbox_id), "%s",
                   record->sandbox->sandbox_id);
    (void)snprintf(metered->project_id, sizeof(metered->project_id), "%s",
                   record->sandbox->project_id);
    return metered;
}

static void metered_free(struct metered *metered)
{
    crownest__records__meter__free_unpacked(metered->part, NULL);
    free(metered->days);
    free(metered);
}

struct status meter_admit(struct meter *meter, const Crownest__Records__SandboxRecord *record,
                          struct metered **ret_metered)
{
    struct metered *metered = metered_new(meter, record);
    const struct pricing *pricing = pricing_find(metered->part->pricing_version);

    (void)pthread_mutex_lock(&meter->mutex);
    struct status status =
        budget_admit(meter, metered, amount_burn(metered->part->rate_millis, pricing, false));

    if (status_is_ok(&status))
        HASH_ADD_STR(meter->living, sandbox_id, metered);
    (void)pthread_mutex_unlock(&meter->mutex);
    if (status_is_ok(&status))
        *ret_metered = metered;
    else
        metered_free(metered);
    return status;
}

struct status meter_may_resume(struct metered *metered)
{
    if (!metered)
        return STATUS_OK_VALUE;
    lock_scope(&metered->meter->mutex);
    const struct pricing *pricing = pricing_find(metered->part->pricing_version);
    uint64_t rate_millis = metered->part->rate_millis;

    return budget_admit(metered->meter, metered,
                        amount_burn(rate_millis, pricing, false) -
                            amount_burn(rate_millis, pricing, true));
}

struct status meter_may_pause(struct metered *metered)
{
    if (!metered)
        return STATUS_OK_VALUE;
    lock_scope(&metered->meter->mutex);
    /* One is left for the resumption, and one for the end. */
    if (metered->part->n_points + 3 > LIMIT_METER_POINTS)
        return status_error(STATUS_RESOURCE_EXHAUSTED, "PAUSE_LIMIT",
                            "a sandbox is paused at most %d times; create another one",
                            LIMIT_METER_POINTS / 2 - 1);
    return STATUS_OK_VALUE;
}

struct metered *meter_adopt(struct meter *meter, const Crownest__Records__SandboxRecord *record)
{
    if (!record->meter)
        return NULL;
    struct metered *metered = metered_new(meter, record);

    bytes_derive(meter->store, metered->project_id, metered->sandbox_id, &metered->days,
                 &metered->day_count);
    lock_scope(&meter->mutex);
    HASH_ADD_STR(meter->living, sandbox_id, metered);
    return metered;
}

void meter_note(struct metered *metered, const Crownest__Records__Meter *part)
{
    if (!metered || !part)
        return;
    Crownest__Records__Meter *copy = part_copy(part);
    struct meter *meter = metered->meter;

    (void)pthread_mutex_lock(&meter->mutex);
    Crownest__Records__Meter *before = metered->part;

    metered->part = copy;
    budget_kick(meter);
    (void)pthread_mutex_unlock(&meter->mutex);
    crownest__records__meter__free_unpacked(before, NULL);
}

void meter_forget(struct metered *metered)
{
    if (!metered)
        return;
    struct meter *meter = metered->meter;

    (void)pthread_mutex_lock(&meter->mutex);
    HASH_DEL(meter->living, metered);
    budget_close(meter, metered);
    (void)pthread_mutex_unlock(&meter->mutex);
    metered_free(metered);
}

void meter_count(struct metered *metered, struct meter_bytes bytes)
{
    if (!metered || (!bytes.log && !bytes.artifact && !bytes.egress))
        return;
    lock_scope(&metered->meter->mutex);
    bytes_add(&metered->days, &metered->day_count, day_number(clock_wall_us()), &bytes);
}

void meter_count_egress(struct meter *meter, const char *sandbox_id, uint64_t bytes)
{
    struct meter_bytes sent = {.egress = bytes};
    struct metered *metered;

    lock_scope(&meter->mutex);
    HASH_FIND_STR(meter->living, sandbox_id, metered);
    if (!metered)
        return;
    bytes_add(&metered->days, &metered->day_count, day_number(clock_wall_us()), &sent);
    metered->sends = true;
}

/* Its days, the caller's. */
static void take_days(struct meter *meter, const struct metered *metered,
                      const Crownest__V1__Sandbox *sandbox, struct metered_day **ret_days,
                      size_t *ret_count)
{
    if (!metered) {
        bytes_derive(meter->store, sandbox->project_id, sandbox->sandbox_id, ret_days, ret_count);
        return;
    }
    *ret_days = NULL;
    *ret_count = 0;
    lock_scope(&meter->mutex);
    for (size_t i = 0; i < metered->day_count; i++)
        bytes_add(ret_days, ret_count, metered->days[i].day, &metered->days[i].bytes);
}

void meter_settle(struct meter *meter, struct metered *metered,
                  Crownest__Records__SandboxRecord *record, struct arena *arena,
                  struct store_batch *batch)
{
    Crownest__Records__Meter *part = record->meter;
    struct metered_day *days;
    size_t count;

    if (!part)
        return;
    take_days(meter, metered, record->sandbox, &days, &count);
    part->bytes = arena_alloc(arena, (count + 1) * sizeof(*part->bytes));
    for (size_t i = 0; i < count; i++) {
        Crownest__Records__MeterBytes *bytes = arena_alloc(arena, sizeof(*bytes));

        crownest__records__meter_bytes__init(bytes);
        bytes->day = days[i].day;
        bytes->log_bytes = days[i].bytes.log;
        bytes->artifact_bytes = days[i].bytes.artifact;
        bytes->egress_bytes = days[i].bytes.egress;
        part->bytes[i] = bytes;
    }
    part->n_bytes = count;
    free(days);
    usage_row_put_all(batch, record->sandbox, part);
    egress_delete(batch, record->sandbox->project_id, record->sandbox->sandbox_id);
}

/* The service */

static void *notes_thread(void *arg)
{
    struct meter *meter = arg;
    struct timespec deadline;

    (void)pthread_mutex_lock(&meter->mutex);
    while (!meter->stopping) {
        (void)pthread_mutex_unlock(&meter->mutex);
        alive_write(meter);
        egress_write(meter);
        bucket_tell(meter);
        (void)pthread_mutex_lock(&meter->mutex);
        deadline = cond_deadline(ALIVE_MS);
        while (!meter->stopping &&
               pthread_cond_timedwait(&meter->wake, &meter->mutex, &deadline) != ETIMEDOUT)
            ;
    }
    (void)pthread_mutex_unlock(&meter->mutex);
    alive_write(meter);
    egress_write(meter);
    return NULL;
}

struct meter *meter_new(struct store *store)
{
    struct meter *meter = calloc(1, sizeof(*meter));

    if (!meter)
        abort();
    meter->store = store;
    alive_boot_id(meter->boot_id);
    alive_read(meter);
    (void)pthread_mutex_init(&meter->mutex, NULL);
    (void)pthread_mutex_init(&meter->changing, NULL);
    cond_init(&meter->wake);
    cond_init(&meter->kicked);
    return meter;
}

int meter_start(struct meter *meter, const struct meter_hooks *hooks)
{
    int r = bucket_load_all(meter);

    if (r < 0)
        return r;
    meter->hooks = *hooks;
    if (pthread_create(&meter->notes_thread, NULL, notes_thread, meter) != 0 ||
        pthread_create(&meter->budget_thread, NULL, budget_thread, meter) != 0)
        abort();
    meter->started = true;
    (void)pthread_setname_np(meter->notes_thread, "meter");
    (void)pthread_setname_np(meter->budget_thread, "budget");
    return 0;
}

void meter_stop(struct meter *meter)
{
    if (!meter)
        return;
    (void)pthread_mutex_lock(&meter->mutex);
    meter->stopping = true;
    (void)pthread_cond_broadcast(&meter->wake);
    (void)pthread_cond_broadcast(&meter->kicked);
    (void)pthread_mutex_unlock(&meter->mutex);
    if (meter->started) {
        (void)pthread_join(meter->notes_thread, NULL);
        (void)pthread_join(meter->budget_thread, NULL);
    }
    meter->started = false;
}

void meter_free(struct meter *meter)
{
    struct metered *metered;
    struct metered *next;

    if (!meter)
        return;
    meter_stop(meter);
    HASH_ITER(hh, meter->living, metered, next)
    {
        HASH_DEL(meter->living, metered);
        metered_free(metered);
    }
    while (meter->buckets)
        bucket_remove(meter, meter->buckets);
    (void)pthread_cond_destroy(&meter->kicked);
    (void)pthread_cond_destroy(&meter->wake);
    (void)pthread_mutex_destroy(&meter->changing);
    (void)pthread_mutex_destroy(&meter->mutex);
    free(meter);
}
