#include "server/artifact/artifacts.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "server/store/record.h"
#include "server/util/cleanup.h"
#include "server/util/failpoint.h"
#include "server/util/id.h"
#include "server/util/prototime.h"

#define ARENA_BYTES (64U << 10)
#define EXPIRED_AT_ONCE 256

/* One removal at a time: of two of one artifact the second finds nothing to give back. */
static pthread_mutex_t removing = PTHREAD_MUTEX_INITIALIZER;

/* Where an artifact stands: by its id, in its sandbox, and by its content. */
struct places {
    struct schema_key record;
    struct schema_key by_sandbox;
    struct schema_key by_digest;
};

/* `sha256:` is in every digest, and `:` in no key. */
static const char *hex_of(const char *digest)
{
    const char *colon = strchr(digest, ':');

    return colon ? colon + 1 : digest;
}

static struct places places_of(const Crownest__V1__Artifact *artifact)
{
    const char *project_id = artifact->project_id;
    const char *id = artifact->artifact_id;

    return (struct places){
        .record = schema_key("a", project_id, id, NULL),
        .by_sandbox = schema_key("as", project_id, artifact->sandbox_id, id),
        .by_digest = schema_key("ad", hex_of(artifact->digest), id, NULL),
    };
}

void artifact_put(struct store_batch *batch, const Crownest__V1__Artifact *artifact)
{
    struct places places = places_of(artifact);

    record_put(batch, &places.record, &artifact->base);
    record_put_string(batch, &places.by_sandbox, "");
    record_put_string(batch, &places.by_digest, artifact->project_id);
}

struct status artifact_get(const struct artifacts *artifacts, const char *project_id,
                           const char *artifact_id, struct arena *arena,
                           Crownest__V1__Artifact **ret_artifact)
{
    struct schema_key key = schema_key("a", project_id, artifact_id, NULL);

    if (!id_valid("art_", artifact_id) ||
        record_get(artifacts->store, &key, &crownest__v1__artifact__descriptor, arena,
                   ret_artifact) < 0)
        return status_at(status_error(STATUS_NOT_FOUND, "ARTIFACT_NOT_FOUND",
                                      "no artifact with this id in this project"),
                         "artifact_id");
    return STATUS_OK_VALUE;
}

/* Loading */

struct load {
    const struct artifacts *artifacts;
    struct store_batch *batch; /* NULL: the index by digest is there */
};

static bool load_visit(void *arg, struct bytes key, struct bytes value)
{
    struct load *load = arg;
    Crownest__V1__Artifact *artifact = crownest__v1__artifact__unpack(NULL, value.size, value.data);

    (void)key;
    if (!artifact)
        return true;
    struct quota_amounts amounts = {{[QUOTA_ARTIFACT_BYTES] = artifact->size_bytes}};
    struct places places = places_of(artifact);

    quota_add(load->artifacts->quotas, artifact->project_id, &amounts);
    if (load->batch)
        record_put_string(load->batch, &places.by_digest, artifact->project_id);
    crownest__v1__artifact__free_unpacked(artifact, NULL);
    return true;
}

int artifacts_load(const struct artifacts *artifacts)
{
    struct schema_key all = schema_key("a", "", NULL, NULL);
    struct schema_key indexed = schema_key("m", "artifacts-by-digest", NULL, NULL);
    struct load load = {.artifacts = artifacts};
    char note[8];
    int known = record_get_string(artifacts->store, &indexed, note, sizeof(note));

    if (known == -ENOENT)
        load.batch = store_batch_new();
    int r = store_scan(artifacts->store, schema_bytes(&all), bytes_of(NULL, 0), STORE_ASCENDING,
                       load_visit, &load);

    if (!load.batch)
        return r;
    if (r < 0) {
        store_batch_free(load.batch);
        return r;
    }
    record_put_string(load.batch, &indexed, "");
    return store_commit(artifacts->store, load.batch, STORE_SYNCED);
}

/* Removing */

static bool found_visit(void *arg, struct bytes key, struct bytes value)
{
    (void)key;
    (void)value;
    *(bool *)arg = true;
    return false;
}

/* What cannot be looked up is wanted. */
static bool is_wanted(void *arg, const char *digest)
{
    const struct artifacts *artifacts = arg;
    struct schema_key all = schema_key("ad", hex_of(digest), "", NULL);
    bool found = false;
    int r = store_scan(artifacts->store, schema_bytes(&all), bytes_of(NULL, 0), STORE_ASCENDING,
                       found_visit, &found);

    return r < 0 || found;
}

static struct status delete_record(const struct artifacts *artifacts,
                                   const Crownest__V1__Artifact *artifact,
                                   const struct audit_actor *by)
{
    struct places places = places_of(artifact);
    struct store_batch *batch = store_batch_new();

    record_delete(batch, &places.record);
    record_delete(batch, &places.by_sandbox);
    record_delete(batch, &places.by_digest);
    audit_add(batch, &(struct audit_entry){.actor = by,
                                           .action = "artifact.remove",
                                           .resource_id = artifact->artifact_id,
                                           .project_id = artifact->project_id,
                                           .sandbox_id = artifact->sandbox_id,
                                           .reason = by ? "" : "RETENTION",
                                           .detail = artifact->digest});
    return record_commit(artifacts->store, batch);
}

struct status artifact_remove(const struct artifacts *artifacts, const char *project_id,
                              const char *artifact_id, const struct audit_actor *by,
                              struct arena *arena, Crownest__V1__Artifact **ret_artifact)
{
    lock_scope(&removing);
    struct status status = artifact_get(artifacts, project_id, artifact_id, arena, ret_artifact);

    if (status_is_ok(&status))
        status = delete_record(artifacts, *ret_artifact, by);
    if (!status_is_ok(&status))
        return status;
    struct quota_amounts amounts = {{[QUOTA_ARTIFACT_BYTES] = (*ret_artifact)->size_bytes}};

    FAILPOINT("artifact.removed");
    quota_give(artifacts->quotas, project_id, &amounts);
    (void)blob_remove(artifacts->blobs, (*ret_artifact)->digest, is_wanted,
                      (void *)(uintptr_t)artifacts);
    return status;
}

struct expiry {
    uint64_t due_ms;
    char ids[EXPIRED_AT_ONCE][ID_SIZE];
    size_t count;
};

/* Ids begin with the time at which they were made, so the first that is not due ends the scan. */
static bool expire_visit(void *arg, struct bytes key, struct bytes value)
{
    struct expiry *expiry = arg;
    Crownest__V1__Artifact *artifact = crownest__v1__artifact__unpack(NULL, value.size, value.data);

    (void)key;
    if (!artifact)
        return true;
    bool due = prototime_ms(artifact->create_time) <= expiry->due_ms;

    if (due)
        (void)snprintf(expiry->ids[expiry->count++], ID_SIZE, "%s", artifact->artifact_id);
    crownest__v1__artifact__free_unpacked(artifact, NULL);
    return due && expiry->count < EXPIRED_AT_ONCE;
}

bool artifacts_expire(const struct artifacts *artifacts, const char *project_id, uint64_t due_ms,
                      const atomic_bool *stop)
{
    struct schema_key all = schema_key("a", project_id, "", NULL);
    struct expiry expiry = {.due_ms = due_ms};
    struct status status = STATUS_OK_VALUE;

    (void)store_scan(artifacts->store, schema_bytes(&all), bytes_of(NULL, 0), STORE_ASCENDING,
                     expire_visit, &expiry);
    for (size_t i = 0; i < expiry.count && status_is_ok(&status) && !*stop; i++) {
        struct arena *arena = arena_new(ARENA_BYTES);
        Crownest__V1__Artifact *artifact;

        status = artifact_remove(artifacts, project_id, expiry.ids[i], NULL, arena, &artifact);
        /* A client was faster. */
        if (status.code == STATUS_NOT_FOUND)
            status = STATUS_OK_VALUE;
        arena_free(arena);
    }
    return expiry.count == EXPIRED_AT_ONCE && status_is_ok(&status);
}

struct blob_sweep {
    const struct artifacts *artifacts;
    const atomic_bool *stop;
};

static bool blob_visit(void *arg, const char *digest)
{
    struct blob_sweep *sweep = arg;

    (void)blob_remove(sweep->artifacts->blobs, digest, is_wanted,
                      (void *)(uintptr_t)sweep->artifacts);
    return !*sweep->stop;
}

void artifacts_sweep_blobs(const struct artifacts *artifacts, const atomic_bool *stop)
{
    struct blob_sweep sweep = {.artifacts = artifacts, .stop = stop};

    blob_each(artifacts->blobs, blob_visit, &sweep);
}
