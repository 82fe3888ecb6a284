#include "tests/unit/meter/lives.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/meter/timeline.h"
#include "server/store/record.h"
#include "server/util/prototime.h"

void lives_open(struct lives *lives, const char *directory)
{
    struct err err = {0};

    if (store_open(directory, &lives->store, &err) < 0)
        fail_msg("%s", err.message);
    lives->meter = meter_new(lives->store);
    lives->arena = arena_new(1 << 20);
}

void lives_close(struct lives *lives)
{
    meter_free(lives->meter);
    store_close(lives->store);
    arena_free(lives->arena);
}

static struct schema_key key_of(const Crownest__Records__SandboxRecord *record)
{
    return schema_key("s", LIVES_PROJECT, record->sandbox->sandbox_id, NULL);
}

Crownest__Records__SandboxRecord *lives_begin(struct lives *lives, unsigned id)
{
    static const Crownest__V1__Resources none = CROWNEST__V1__RESOURCES__INIT;
    Crownest__Records__SandboxRecord *record = arena_alloc(lives->arena, sizeof(*record));
    Crownest__V1__Sandbox *sandbox = arena_alloc(lives->arena, sizeof(*sandbox));

    crownest__records__sandbox_record__init(record);
    crownest__v1__sandbox__init(sandbox);
    record->sandbox = sandbox;
    sandbox->project_id = arena_strdup(lives->arena, LIVES_PROJECT);
    sandbox->sandbox_id = arena_printf(lives->arena, "sbx_%026u", id);
    record->meter = meter_part(&none, LIVES_KEY, lives->arena);
    timeline_begin(record->meter, LIVES_NOON, LIVES_HOUR, "", lives->arena);
    record->meter->expire_us = UINT64_MAX;
    return record;
}

void lives_put(struct lives *lives, const Crownest__Records__SandboxRecord *record)
{
    struct store_batch *batch = store_batch_new();
    struct schema_key key = key_of(record);

    record_put(batch, &key, &record->base);
    assert_int_equal(store_commit(lives->store, batch, STORE_UNSYNCED), 0);
}

void lives_end(struct lives *lives, Crownest__Records__SandboxRecord *record, uint64_t at_us)
{
    struct store_batch *batch = store_batch_new();
    struct schema_key key = key_of(record);

    timeline_turn(record->meter, CROWNEST__RECORDS__METER_STATE__METER_STATE_ENDED, at_us,
                  lives->arena);
    record->sandbox->end_time = prototime_from_us(lives->arena, LIVES_NOON + at_us);
    meter_settle(lives->meter, NULL, record, lives->arena, batch);
    record_put(batch, &key, &record->base);
    assert_int_equal(store_commit(lives->store, batch, STORE_UNSYNCED), 0);
}
