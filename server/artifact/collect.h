/*
 * Makes artifacts of files in a sandbox. Each file is opened inside the sandbox, with no symlink
 * followed, and handed over as a descriptor; what is read from that descriptor is what is kept.
 */
#pragma once

#include <stdbool.h>

#include "crownest/v1/artifact.pb-c.h"
#include "crownest/v1/command.pb-c.h"
#include "server/artifact/blob.h"
#include "server/audit/audit.h"
#include "server/plan/quota.h"
#include "server/sandbox/nest.h"
#include "server/store/store.h"
#include "server/util/arena.h"
#include "server/util/status.h"

struct collect_options {
    struct nest *nest;
    struct blob_store *blobs;
    struct quotas *quotas; /* may be NULL */
    Crownest__V1__CollectItem *const *items;
    size_t item_count;
    const char *field; /* what the items are called in the request */
    const char *project_id;
    const char *sandbox_id;
    const char *command_id; /* "" when no command declared them */
};

/* In the arena given. */
struct collect_result {
    Crownest__V1__Artifact **artifacts;
    size_t artifact_count;
    Crownest__V1__CollectFailure **failures; /* of collect_some */
    size_t failure_count;
};

/* Checks the items as text. */
struct status collect_check(Crownest__V1__CollectItem *const *items, size_t count,
                            const char *field);

/*
 * All or none: the first item that fails is the status, RESOURCE_EXHAUSTED QUOTA_ARTIFACT_BYTES
 * among others. No record is written.
 */
struct status collect_all(const struct collect_options *options, struct arena *arena,
                          struct collect_result *ret_result);

/* What can be collected, and for the rest why not. */
void collect_some(const struct collect_options *options, struct arena *arena,
                  struct collect_result *ret_result);

/* How many bytes the artifacts have together. */
uint64_t collect_bytes(const struct collect_result *result);

/*
 * After collect_all has succeeded, or collect_some: the artifacts are recorded now, or will not be.
 * Until then their blobs are pinned, and their bytes counted.
 */
void collect_settle(const struct collect_options *options, const struct collect_result *result,
                    bool recorded);

/* Adds the artifacts' records to a batch. by: who wants them; NULL: the command's declaration. */
void collect_record(struct store_batch *batch, const struct collect_result *result,
                    const struct audit_actor *by);
