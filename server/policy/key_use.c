#include "server/policy/key_use.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/store/record.h"
#include "server/util/cleanup.h"
#include "server/util/id.h"
#include "server/util/limits.h"

/* Keys that were used lately. Two that meet in a slot cost a read more, not a write. */
struct slot {
    char key_id[ID_SIZE];
    uint64_t time_ms; /* what stands, or is about to stand, in the database */
};

struct key_uses {
    struct store *store;
    pthread_mutex_t mutex;
    struct slot slots[LIMIT_KEYS_REMEMBERED];
};

struct key_uses *key_uses_new(struct store *store)
{
    struct key_uses *uses = calloc(1, sizeof(*uses));

    if (!uses)
        abort();
    uses->store = store;
    (void)pthread_mutex_init(&uses->mutex, NULL);
    return uses;
}

void key_uses_free(struct key_uses *uses)
{
    if (!uses)
        return;
    (void)pthread_mutex_destroy(&uses->mutex);
    free(uses);
}

static struct slot *slot_of(struct key_uses *uses, const char *key_id)
{
    uint32_t hash = 2166136261U;

    for (const char *c = key_id; *c; c++)
        hash = (hash ^ (uint8_t)*c) * 16777619U;
    return &uses->slots[hash % LIMIT_KEYS_REMEMBERED];
}

/* A clock that was set back must not keep a key's use from being noted. */
static bool is_due(uint64_t before_ms, uint64_t now_ms)
{
    return now_ms < before_ms || now_ms - before_ms >= LIMIT_KEY_USE_MS;
}

uint64_t key_last_use(struct store *store, const char *key_id)
{
    struct schema_key key = schema_key("ku", key_id, NULL, NULL);
    char text[24];

    return record_get_string(store, &key, text, sizeof(text)) < 0 ? 0 : strtoull(text, NULL, 10);
}

/* Whether it has to be written; then nobody else will for a while. */
static bool claim(struct key_uses *uses, const char *key_id, uint64_t now_ms)
{
    lock_scope(&uses->mutex);
    struct slot *slot = slot_of(uses, key_id);

    if (strcmp(slot->key_id, key_id) != 0) {
        (void)snprintf(slot->key_id, sizeof(slot->key_id), "%s", key_id);
        slot->time_ms = key_last_use(uses->store, key_id);
    }
    if (!is_due(slot->time_ms, now_ms))
        return false;
    slot->time_ms = now_ms;
    return true;
}

void key_uses_note(struct key_uses *uses, const char *key_id, uint64_t now_ms)
{
    struct schema_key key = schema_key("ku", key_id, NULL, NULL);
    char text[24];

    if (!claim(uses, key_id, now_ms))
        return;
    struct store_batch *batch = store_batch_new();

    (void)snprintf(text, sizeof(text), "%llu", (unsigned long long)now_ms);
    record_put_string(batch, &key, text);
    (void)store_commit(uses->store, batch, STORE_UNSYNCED);
}
