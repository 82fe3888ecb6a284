#include "server/store/record.h"

#include <errno.h>
#include <string.h>

#include "server/util/id.h"

void record_put(struct store_batch *batch, const struct schema_key *key,
                const ProtobufCMessage *message)
{
    cleanup_buf struct buf value = {0};

    buf_reserve(&value, protobuf_c_message_get_packed_size(message) + 1);
    value.size = protobuf_c_message_pack(message, value.data);
    store_batch_put(batch, schema_bytes(key), buf_bytes(&value));
}

void record_put_string(struct store_batch *batch, const struct schema_key *key, const char *value)
{
    store_batch_put(batch, schema_bytes(key), bytes_of_string(value));
}

void record_delete(struct store_batch *batch, const struct schema_key *key)
{
    store_batch_delete(batch, schema_bytes(key));
}

int record_get(struct store *store, const struct schema_key *key,
               const ProtobufCMessageDescriptor *type, struct arena *arena, void *ret_message)
{
    cleanup_buf struct buf value = {0};
    int r = store_get(store, schema_bytes(key), &value);

    if (r < 0)
        return r;
    void *message = protobuf_c_message_unpack(type, arena_allocator(arena), value.size, value.data);

    if (!message)
        return -EUCLEAN;
    *(void **)ret_message = message;
    return 0;
}

int record_get_string(struct store *store, const struct schema_key *key, char *ret_value,
                      size_t size)
{
    cleanup_buf struct buf value = {0};
    int r = store_get(store, schema_bytes(key), &value);

    if (r < 0)
        return r;
    if (value.size >= size)
        return -EUCLEAN;
    if (value.size > 0)
        memcpy(ret_value, value.data, value.size);
    ret_value[value.size] = '\0';
    return 0;
}

struct status record_write_failed(struct store *store)
{
    struct status status = store_writable(store);

    /* It has healed meanwhile. */
    if (status_is_ok(&status))
        status = status_unavailable("STORE_FAILED", "the database could not be written; try again");
    status.admitted = STATUS_ADMITTED_UNKNOWN;
    return status;
}

struct status record_commit(struct store *store, struct store_batch *batch)
{
    return store_commit(store, batch, STORE_SYNCED) < 0 ? record_write_failed(store)
                                                        : STATUS_OK_VALUE;
}

struct page_walk {
    record_visit_fn *visit;
    void *arg;
    size_t prefix_size;
    size_t left;
    char *ret_next;
    size_t next_size;
};

static bool page_visit(void *arg, struct bytes key, struct bytes value)
{
    struct page_walk *walk = arg;
    char id[sizeof(((struct schema_key *)0)->text)];
    size_t size = key.size - walk->prefix_size;

    if (size >= sizeof(id) || size >= walk->next_size)
        return true;
    memcpy(id, key.data + walk->prefix_size, size);
    id[size] = '\0';
    if (walk->left == 0) {
        memcpy(walk->ret_next, id, size + 1);
        return false;
    }
    if (walk->visit(walk->arg, id, value))
        walk->left--;
    return true;
}

int record_page(struct store *store, const struct record_page *page, record_visit_fn *visit,
                void *arg, char *ret_next, size_t next_size)
{
    struct page_walk walk = {.visit = visit,
                             .arg = arg,
                             .prefix_size = page->prefix.size,
                             .left = page->count,
                             .ret_next = ret_next,
                             .next_size = next_size};
    struct schema_key start = page->prefix;

    ret_next[0] = '\0';
    if (page->start[0]) {
        int size =
            snprintf(start.text + start.size, sizeof(start.text) - start.size, "%s", page->start);

        start.size += size < 0 ? 0 : (size_t)size;
        if (start.size >= sizeof(start.text))
            return 0;
    } else {
        start.size = 0;
    }
    return store_scan(store, schema_bytes(&page->prefix), schema_bytes(&start), STORE_DESCENDING,
                      page_visit, &walk);
}

/* Appends the id and the project, both with a NUL. */
static bool each_note(void *arg, const char *id, struct bytes project)
{
    buf_append(arg, id, strlen(id) + 1);
    buf_append(arg, project.data, project.size);
    buf_append(arg, "", 1);
    return true;
}

int record_each(struct store *store, const char *type, record_each_fn *visit, void *arg)
{
    struct record_page all = {
        .prefix = schema_key(type, "", NULL, NULL), .start = "", .count = SIZE_MAX};
    cleanup_buf struct buf found = {0};
    char next[ID_SIZE];
    int result = record_page(store, &all, each_note, &found, next, sizeof(next));

    for (size_t at = 0; at < found.size;) {
        const char *id = (const char *)found.data + at;
        const char *project_id = id + strlen(id) + 1;
        int r = visit(arg, project_id, id);

        if (r < 0)
            result = r;
        at += strlen(id) + strlen(project_id) + 2;
    }
    return result;
}
