#include "server/policy/session.h"

#include <stdio.h>
#include <string.h>

#include "server/store/record.h"
#include "server/util/clock.h"
#include "server/util/id.h"
#include "server/util/limits.h"

/* Those of one operator, the oldest first. */
struct list {
    size_t prefix_size;
    size_t count;
    struct {
        char session_id[ID_SIZE];
        char hash[SECRET_HEX_SIZE];
    } items[LIMIT_SESSIONS_PER_OPERATOR];
};

static bool visit(void *arg, struct bytes key, struct bytes value)
{
    struct list *list = arg;
    size_t size = key.size - list->prefix_size;

    if (size >= sizeof(list->items[0].session_id) || value.size != SECRET_HEX_SIZE - 1)
        return true;
    memcpy(list->items[list->count].session_id, key.data + list->prefix_size, size);
    memcpy(list->items[list->count].hash, value.data, value.size);
    return ++list->count < LIMIT_SESSIONS_PER_OPERATOR;
}

static struct list read_list(struct store *store, const char *name)
{
    struct schema_key prefix = schema_key("on", name, "", NULL);
    struct list list = {.prefix_size = prefix.size};

    (void)store_scan(store, schema_bytes(&prefix), bytes_of(NULL, 0), STORE_ASCENDING, visit,
                     &list);
    return list;
}

static int read_session(struct store *store, const char *hash, struct arena *arena,
                        Crownest__Records__SessionRecord **ret_session)
{
    struct schema_key key = schema_key("os", hash, NULL, NULL);

    return record_get(store, &key, &crownest__records__session_record__descriptor, arena,
                      ret_session);
}

struct status session_ended(void)
{
    return status_error(STATUS_UNAUTHENTICATED, "SESSION_INVALID",
                        "no such session, or it was ended; log in again: crownest login");
}

struct status session_expired(void)
{
    return status_error(STATUS_UNAUTHENTICATED, "SESSION_EXPIRED",
                        "the session has expired; log in again: crownest login");
}

struct status session_find(struct store *store, const char *token, struct arena *arena,
                           Crownest__Records__SessionRecord **ret_session)
{
    uint8_t hash[SECRET_HASH_SIZE];
    char hex[SECRET_HEX_SIZE];
    Crownest__Records__SessionRecord *session;

    secret_hash(token, strlen(token), hash);
    secret_hex(hash, hex);
    if (strlen(token) >= SECRET_SIZE || read_session(store, hex, arena, &session) < 0)
        return session_ended();
    if (session->expire_ms < clock_wall_ms())
        return session_expired();
    *ret_session = session;
    return STATUS_OK_VALUE;
}

static void remove_session(struct store_batch *batch, const char *name, const struct list *list,
                           size_t at)
{
    struct schema_key by_hash = schema_key("os", list->items[at].hash, NULL, NULL);
    struct schema_key by_name = schema_key("on", name, list->items[at].session_id, NULL);

    record_delete(batch, &by_hash);
    record_delete(batch, &by_name);
}

static bool is_live(struct store *store, const struct list *list, size_t at, struct arena *arena)
{
    Crownest__Records__SessionRecord *session;

    return read_session(store, list->items[at].hash, arena, &session) == 0 &&
           session->expire_ms >= clock_wall_ms();
}

static void make_room(struct store *store, struct store_batch *batch, const char *name,
                      struct arena *arena)
{
    struct list list = read_list(store, name);
    size_t left = list.count;

    for (size_t i = 0; i < list.count; i++) {
        if (left < LIMIT_SESSIONS_PER_OPERATOR && is_live(store, &list, i, arena))
            continue;
        remove_session(batch, name, &list, i);
        left--;
    }
}

void session_add(struct store *store, struct store_batch *batch, const char *name, uint64_t ttl_ms,
                 struct arena *arena, char ret_token[SECRET_SIZE],
                 Crownest__Records__SessionRecord **ret_session)
{
    Crownest__Records__SessionRecord *session = arena_alloc(arena, sizeof(*session));
    uint8_t hash[SECRET_HASH_SIZE];
    char hex[SECRET_HEX_SIZE];
    char id[ID_SIZE];

    make_room(store, batch, name, arena);
    id_make("ses_", id);
    crownest__records__session_record__init(session);
    session->session_id = arena_strdup(arena, id);
    session->name = arena_strdup(arena, name);
    session->create_ms = clock_wall_ms();
    session->expire_ms = session->create_ms + ttl_ms;
    secret_make(SESSION_PREFIX, ret_token);
    secret_hash(ret_token, strlen(ret_token), hash);
    secret_hex(hash, hex);
    struct schema_key by_hash = schema_key("os", hex, NULL, NULL);
    struct schema_key by_name = schema_key("on", name, id, NULL);

    record_put(batch, &by_hash, &session->base);
    record_put_string(batch, &by_name, hex);
    *ret_session = session;
}

void session_end(struct store *store, struct store_batch *batch, const char *name,
                 const char *session_id)
{
    struct list list = read_list(store, name);

    for (size_t i = 0; i < list.count; i++) {
        if (!session_id || strcmp(list.items[i].session_id, session_id) == 0)
            remove_session(batch, name, &list, i);
    }
}

uint32_t session_count(struct store *store, const char *name, struct arena *arena)
{
    struct list list = read_list(store, name);
    uint32_t count = 0;

    for (size_t i = 0; i < list.count; i++)
        count += is_live(store, &list, i, arena);
    return count;
}
