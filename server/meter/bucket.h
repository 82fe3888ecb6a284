/*
 * Buckets: made, changed and deleted by operators. What is spent of one is not written down: it
 * follows from usage. See meter.h for what empties them.
 *
 * Functions may be called from any thread, and block until what they do is on disk.
 */
#pragma once

#include "crownest/v1/bucket.pb-c.h"
#include "server/audit/audit.h"
#include "server/meter/meter.h"

/* Adds to the batch that makes a change, so that both are on disk or neither. */
struct bucket_commit {
    void (*add)(void *arg, struct store_batch *batch, const Crownest__V1__Bucket *bucket);
    void *arg;
    const struct audit_actor *by;
};

/* Results live in the arena. See bucket.proto for the errors. */
struct status bucket_create(struct meter *meter, const char *project_id,
                            const Crownest__V1__CreateBucketRequest *request,
                            const struct bucket_commit *commit, struct arena *arena,
                            Crownest__V1__Bucket **ret_bucket);
struct status bucket_get(struct meter *meter, const char *project_id, const char *bucket_id,
                         struct arena *arena, Crownest__V1__Bucket **ret_bucket);
struct status bucket_update(struct meter *meter, const char *project_id,
                            const Crownest__V1__UpdateBucketRequest *request,
                            const struct bucket_commit *commit, struct arena *arena,
                            Crownest__V1__Bucket **ret_bucket);
struct status bucket_delete(struct meter *meter, const char *project_id, const char *bucket_id,
                            const struct bucket_commit *commit, struct arena *arena,
                            Crownest__V1__Bucket **ret_bucket);
