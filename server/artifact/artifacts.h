/*
 * The records of artifacts, and with them their blobs: a blob is there for as long as a record, of
 * any project, has its digest. A record goes first and its blob afterwards; what a crash has left
 * between is found by artifacts_sweep_blobs.
 *
 * Functions may be called from any thread.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

#include "crownest/v1/artifact.pb-c.h"
#include "server/artifact/blob.h"
#include "server/audit/audit.h"
#include "server/plan/quota.h"
#include "server/store/store.h"
#include "server/util/arena.h"
#include "server/util/status.h"

/* What it works on; all of them outlive it. */
struct artifacts {
    struct store *store;
    struct blob_store *blobs;
    struct quotas *quotas; /* may be NULL */
};

/*
 * When the service starts: counts what there is for the quotas, and writes the index by digest
 * where an earlier version did not. Returns 0, -ENOSPC or -EIO.
 */
int artifacts_load(const struct artifacts *artifacts);

/* Adds the record and its indexes to a batch. */
void artifact_put(struct store_batch *batch, const Crownest__V1__Artifact *artifact);

/* In the arena. NOT_FOUND ARTIFACT_NOT_FOUND. */
struct status artifact_get(const struct artifacts *artifacts, const char *project_id,
                           const char *artifact_id, struct arena *arena,
                           Crownest__V1__Artifact **ret_artifact);

/* Removes it, as `by` wants, or, with NULL, its retention. NOT_FOUND ARTIFACT_NOT_FOUND. */
struct status artifact_remove(const struct artifacts *artifacts, const char *project_id,
                              const char *artifact_id, const struct audit_actor *by,
                              struct arena *arena, Crownest__V1__Artifact **ret_artifact);

/*
 * Removes those of a project that were collected by due_ms of the wall clock, some at once, until
 * *stop. Returns whether there may be more.
 */
bool artifacts_expire(const struct artifacts *artifacts, const char *project_id, uint64_t due_ms,
                      const atomic_bool *stop);

/* Removes blobs that no record has. */
void artifacts_sweep_blobs(const struct artifacts *artifacts, const atomic_bool *stop);
