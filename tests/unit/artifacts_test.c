/* A blob is there for as long as a record has its digest, or is about to; then it is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "server/artifact/artifacts.h"
#include "server/store/record.h"
#include "server/util/prototime.h"
#include "tests/unit/tempdir.h"

#define MINE "prj_01h455vb4pex5vsknk084sn02q"
#define OTHER "prj_01h455vb4pex5vsknk084sn02r"
#define SANDBOX "sbx_01h455vb4pex5vsknk084sn02q"
#define NOW_MS 1800000000000ULL

struct world {
    char *directory;
    struct artifacts artifacts;
    struct arena *arena;
};

static const atomic_bool never;

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof(*world));
    char path[4096];

    world->directory = tempdir_new();
    world->arena = arena_new(1U << 20);
    *state = world;
    (void)snprintf(path, sizeof(path), "%s/db", world->directory);
    if (store_open(path, &world->artifacts.store, NULL) < 0)
        return -1;
    (void)snprintf(path, sizeof(path), "%s/blobs", world->directory);
    world->artifacts.quotas = quotas_new(world->artifacts.store);
    return blob_store_open(path, &world->artifacts.blobs, NULL);
}

static int tear_down(void **state)
{
    struct world *world = *state;

    blob_store_close(world->artifacts.blobs);
    quotas_free(world->artifacts.quotas);
    store_close(world->artifacts.store);
    arena_free(world->arena);
    tempdir_free(world->directory);
    free(world);
    return 0;
}

static void put_blob(struct world *world, const char *text, char ret_digest[BLOB_DIGEST_SIZE])
{
    int fd = memfd_create("file", MFD_CLOEXEC);
    uint64_t size;

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, text, strlen(text), 0), strlen(text));
    assert_int_equal(blob_put(world->artifacts.blobs, fd, 1U << 20, ret_digest, &size, NULL), 0);
    (void)close(fd);
}

static bool has_blob(struct world *world, const char *digest)
{
    int fd = blob_open(world->artifacts.blobs, digest);

    if (fd >= 0)
        (void)close(fd);
    return fd >= 0;
}

static void commit(struct world *world, const Crownest__V1__Artifact *artifact, bool indexed)
{
    struct store_batch *batch = store_batch_new();
    struct schema_key key = schema_key("a", artifact->project_id, artifact->artifact_id, NULL);

    if (indexed)
        artifact_put(batch, artifact);
    else
        record_put(batch, &key, &artifact->base);
    assert_int_equal(store_commit(world->artifacts.store, batch, STORE_SYNCED), 0);
}

/* An artifact of the text, as collecting makes it; ret_id is its id. */
static void keep(struct world *world, const char *project, const char *text, uint64_t create_ms,
                 char ret_id[ID_SIZE], char ret_digest[BLOB_DIGEST_SIZE])
{
    Crownest__V1__Artifact artifact = CROWNEST__V1__ARTIFACT__INIT;

    put_blob(world, text, ret_digest);
    id_make("art_", ret_id);
    artifact.artifact_id = ret_id;
    artifact.project_id = (char *)(uintptr_t)project;
    artifact.sandbox_id = (char *)SANDBOX;
    artifact.digest = ret_digest;
    artifact.size_bytes = strlen(text);
    artifact.create_time = prototime_from_ms(world->arena, create_ms);
    commit(world, &artifact, true);
    blob_unpin(world->artifacts.blobs, ret_digest);
}

static struct status discard(struct world *world, const char *project, const char *id)
{
    Crownest__V1__Artifact *artifact;

    return artifact_remove(&world->artifacts, project, id, NULL, world->arena, &artifact);
}

static bool count_visit(void *arg, struct bytes key, struct bytes value)
{
    (void)value;
    /* But for the note that the index is there. */
    *(size_t *)arg += ((const char *)key.data)[0] != 'm';
    return true;
}

static size_t count_keys(struct world *world)
{
    size_t count = 0;

    (void)store_scan(world->artifacts.store, bytes_of(NULL, 0), bytes_of(NULL, 0), STORE_ASCENDING,
                     count_visit, &count);
    return count;
}

static void one_content_stays_until_its_last_artifact_goes(void **state)
{
    struct world *world = *state;
    char ids[2][ID_SIZE];
    char digest[BLOB_DIGEST_SIZE];
    struct status status;

    keep(world, MINE, "same", NOW_MS, ids[0], digest);
    keep(world, OTHER, "same", NOW_MS, ids[1], digest);
    status = discard(world, OTHER, ids[0]);
    assert_string_equal(status.reason, "ARTIFACT_NOT_FOUND");
    status = discard(world, MINE, ids[0]);
    assert_true(status_is_ok(&status));
    assert_true(has_blob(world, digest));
    status = discard(world, MINE, ids[0]);
    assert_string_equal(status.reason, "ARTIFACT_NOT_FOUND");
    status = discard(world, OTHER, ids[1]);
    assert_true(status_is_ok(&status));
    assert_false(has_blob(world, digest));
    assert_int_equal(count_keys(world), 0);
}

static void what_is_about_to_be_recorded_is_not_taken_away(void **state)
{
    struct world *world = *state;
    char id[ID_SIZE];
    char digest[BLOB_DIGEST_SIZE];
    char again[BLOB_DIGEST_SIZE];

    keep(world, MINE, "same", NOW_MS, id, digest);
    put_blob(world, "same", again);
    struct status status = discard(world, MINE, id);

    assert_true(status_is_ok(&status));
    artifacts_sweep_blobs(&world->artifacts, &never);
    assert_true(has_blob(world, digest));
    /* It was not recorded after all. */
    blob_unpin(world->artifacts.blobs, again);
    artifacts_sweep_blobs(&world->artifacts, &never);
    assert_false(has_blob(world, digest));
}

static void what_nobody_has_is_removed_and_nothing_else(void **state)
{
    struct world *world = *state;
    char id[ID_SIZE];
    char kept[BLOB_DIGEST_SIZE];
    char orphan[BLOB_DIGEST_SIZE];

    keep(world, MINE, "kept", NOW_MS, id, kept);
    put_blob(world, "orphan", orphan);
    blob_unpin(world->artifacts.blobs, orphan);
    artifacts_sweep_blobs(&world->artifacts, &never);
    assert_true(has_blob(world, kept));
    assert_false(has_blob(world, orphan));
}

static void those_that_are_due_go_and_younger_ones_stay(void **state)
{
    struct world *world = *state;
    char old[ID_SIZE];
    char young[ID_SIZE];
    char digests[2][BLOB_DIGEST_SIZE];

    keep(world, MINE, "old", NOW_MS - 2000, old, digests[0]);
    keep(world, MINE, "young", NOW_MS, young, digests[1]);
    assert_false(artifacts_expire(&world->artifacts, MINE, NOW_MS - 1000, &never));
    assert_false(has_blob(world, digests[0]));
    assert_true(has_blob(world, digests[1]));
    struct status status = discard(world, MINE, old);

    assert_string_equal(status.reason, "ARTIFACT_NOT_FOUND");
    status = discard(world, MINE, young);
    assert_true(status_is_ok(&status));
}

/* Records of a version that had no index by digest. */
static void old_records_are_indexed_before_anything_is_removed(void **state)
{
    struct world *world = *state;
    Crownest__V1__Artifact artifact = CROWNEST__V1__ARTIFACT__INIT;
    char digest[BLOB_DIGEST_SIZE];

    put_blob(world, "old", digest);
    blob_unpin(world->artifacts.blobs, digest);
    artifact.artifact_id = (char *)"art_01h455vb4pex5vsknk084sn02q";
    artifact.project_id = (char *)MINE;
    artifact.sandbox_id = (char *)SANDBOX;
    artifact.digest = digest;
    artifact.size_bytes = 3;
    artifact.create_time = prototime_from_ms(world->arena, NOW_MS);
    commit(world, &artifact, false);
    assert_int_equal(artifacts_load(&world->artifacts), 0);
    artifacts_sweep_blobs(&world->artifacts, &never);
    assert_true(has_blob(world, digest));
    struct status status = discard(world, MINE, artifact.artifact_id);

    assert_true(status_is_ok(&status));
    assert_false(has_blob(world, digest));
    assert_int_equal(count_keys(world), 0);
}

#define WORLD_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(one_content_stays_until_its_last_artifact_goes),
        WORLD_TEST(what_is_about_to_be_recorded_is_not_taken_away),
        WORLD_TEST(what_nobody_has_is_removed_and_nothing_else),
        WORLD_TEST(those_that_are_due_go_and_younger_ones_stay),
        WORLD_TEST(old_records_are_indexed_before_anything_is_removed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
