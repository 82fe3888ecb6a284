/* Protobuf messages as values of the store. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "server/store/schema.h"
#include "server/store/store.h"
#include "server/util/arena.h"
#include "server/util/status.h"

void record_put(struct store_batch *batch, const struct schema_key *key,
                const ProtobufCMessage *message);
void record_put_string(struct store_batch *batch, const struct schema_key *key, const char *value);
void record_delete(struct store_batch *batch, const struct schema_key *key);

/*
 * The message lives in the arena. Returns 0, -ENOENT, -EIO, or -EUCLEAN for a value that is no such
 * message.
 */
int record_get(struct store *store, const struct schema_key *key,
               const ProtobufCMessageDescriptor *type, struct arena *arena, void *ret_message);
int record_get_string(struct store *store, const struct schema_key *key, char *ret_value,
                      size_t size);

/*
 * What a failed write is to a client: UNAVAILABLE DISK_FULL or STORE_FAILED, and perhaps on disk
 * all the same.
 */
struct status record_write_failed(struct store *store);
/* Commits the batch, synced, and says how that went. */
struct status record_commit(struct store *store, struct store_batch *batch);

/* A page of a list. */
struct record_page {
    struct schema_key prefix; /* ends in `/`; what follows is the id */
    const char *start;        /* the id to begin with; empty: the newest */
    size_t count;             /* how many are wanted */
};

/* Called with each id of a page; value is what stands under the key. Returns whether it counts. */
typedef bool record_visit_fn(void *arg, const char *id, struct bytes value);

/*
 * Visits newest first until `count` of them counted; ret_next gets the id that comes after, or "".
 * Returns 0 or -EIO.
 */
int record_page(struct store *store, const struct record_page *page, record_visit_fn *visit,
                void *arg, char *ret_next, size_t next_size);

/*
 * Visits what an index without projects (`live/`, `run/`) held when it was called, which visit may
 * change. Returns 0 or the last error of a visit, -EIO when nothing could be read.
 */
typedef int record_each_fn(void *arg, const char *project_id, const char *id);
int record_each(struct store *store, const char *type, record_each_fn *visit, void *arg);
