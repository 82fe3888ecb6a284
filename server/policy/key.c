#include "server/policy/key.h"

#include <errno.h>
#include <string.h>

#include "server/store/record.h"
#include "server/util/clock.h"
#include "server/util/id.h"
#include "server/util/prototime.h"

static struct schema_key hash_key(const uint8_t hash[SECRET_HASH_SIZE])
{
    char hex[SECRET_HEX_SIZE];

    secret_hex(hash, hex);
    return schema_key("kh", hex, NULL, NULL);
}

static void put_key(struct store_batch *batch, Crownest__V1__Key *key,
                    uint8_t hash[SECRET_HASH_SIZE])
{
    Crownest__Records__KeyRecord record = CROWNEST__RECORDS__KEY_RECORD__INIT;
    struct schema_key by_id = schema_key("k", key->key_id, NULL, NULL);
    struct schema_key by_hash = hash_key(hash);

    record.key = key;
    record.secret_hash = (ProtobufCBinaryData){.data = hash, .len = SECRET_HASH_SIZE};
    record_put(batch, &by_id, &record.base);
    record_put_string(batch, &by_hash, key->key_id);
}

void key_create(struct store_batch *batch, Crownest__V1__Key *key, struct arena *arena,
                char ret_secret[SECRET_SIZE])
{
    uint8_t hash[SECRET_HASH_SIZE];
    char id[ID_SIZE];

    id_make("key_", id);
    key->key_id = arena_strdup(arena, id);
    key->create_time = prototime_from_us(arena, clock_wall_us());
    secret_make("cnk_", ret_secret);
    secret_hash(ret_secret, strlen(ret_secret), hash);
    put_key(batch, key, hash);
}

static struct status read_key(struct store *store, const char *key_id, struct arena *arena,
                              Crownest__Records__KeyRecord **ret_record)
{
    struct schema_key key = schema_key("k", key_id, NULL, NULL);
    int r =
        id_valid("key_", key_id)
            ? record_get(store, &key, &crownest__records__key_record__descriptor, arena, ret_record)
            : -ENOENT;

    if (r < 0 || (*ret_record)->secret_hash.len != SECRET_HASH_SIZE)
        return status_at(status_error(STATUS_NOT_FOUND, "KEY_NOT_FOUND", "no key with this id"),
                         "key_id");
    return STATUS_OK_VALUE;
}

struct status key_get(struct store *store, const char *key_id, struct arena *arena,
                      Crownest__V1__Key **ret_key)
{
    Crownest__Records__KeyRecord *record;
    struct status status = read_key(store, key_id, arena, &record);

    if (status_is_ok(&status))
        *ret_key = record->key;
    return status;
}

struct status key_renew(struct store *store, struct store_batch *batch, const char *key_id,
                        struct arena *arena, Crownest__V1__Key **ret_key,
                        char ret_secret[SECRET_SIZE])
{
    Crownest__Records__KeyRecord *record;
    uint8_t hash[SECRET_HASH_SIZE];
    struct status status = read_key(store, key_id, arena, &record);

    if (!status_is_ok(&status))
        return status;
    struct schema_key old = hash_key(record->secret_hash.data);

    record_delete(batch, &old);
    secret_make("cnk_", ret_secret);
    secret_hash(ret_secret, strlen(ret_secret), hash);
    put_key(batch, record->key, hash);
    *ret_key = record->key;
    return STATUS_OK_VALUE;
}

struct status key_revoke(struct store *store, const char *key_id, const struct audit_actor *by,
                         struct arena *arena, Crownest__V1__Key **ret_key)
{
    Crownest__Records__KeyRecord *record;
    struct status status = read_key(store, key_id, arena, &record);

    if (!status_is_ok(&status))
        return status;
    *ret_key = record->key;
    if (record->key->revoke_time)
        return STATUS_OK_VALUE;
    struct store_batch *batch = store_batch_new();

    audit_add(batch, &(struct audit_entry){.actor = by,
                                           .action = "key.revoke",
                                           .resource_id = record->key->key_id,
                                           .project_id = record->key->project_id,
                                           .detail = record->key->label});
    record->key->revoke_time = prototime_from_us(arena, clock_wall_us());
    put_key(batch, record->key, record->secret_hash.data);
    return record_commit(store, batch);
}

static struct status invalid(void)
{
    return status_error(STATUS_UNAUTHENTICATED, "KEY_INVALID",
                        "no such key; ask an operator for one: crownest keys create");
}

struct status key_revoked(void)
{
    return status_error(STATUS_UNAUTHENTICATED, "KEY_REVOKED", "the key was revoked");
}

struct status key_expired(void)
{
    return status_error(STATUS_UNAUTHENTICATED, "KEY_EXPIRED", "the key has expired");
}

struct status key_authenticate(struct store *store, const char *secret, struct arena *arena,
                               Crownest__V1__Key **ret_key)
{
    uint8_t hash[SECRET_HASH_SIZE];
    char id[ID_SIZE];
    Crownest__Records__KeyRecord *record;

    if (strncmp(secret, "cnk_", 4) != 0 || strlen(secret) >= SECRET_SIZE)
        return invalid();
    secret_hash(secret, strlen(secret), hash);
    struct schema_key by_hash = hash_key(hash);

    if (record_get_string(store, &by_hash, id, sizeof(id)) < 0)
        return invalid();
    struct status status = read_key(store, id, arena, &record);

    if (!status_is_ok(&status) || !secret_equal(hash, record->secret_hash.data))
        return invalid();
    if (record->key->revoke_time)
        return key_revoked();
    if (record->key->expire_time && prototime_ms(record->key->expire_time) < clock_wall_ms())
        return key_expired();
    *ret_key = record->key;
    return STATUS_OK_VALUE;
}

bool key_has_scope(const Crownest__V1__Key *key, const char *scope)
{
    for (size_t i = 0; i < key->n_scopes; i++) {
        if (strcmp(key->scopes[i], scope) == 0)
            return true;
    }
    return false;
}
