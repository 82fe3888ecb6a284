/*
 * Previews: ports of sandboxes opened under a token. The records are in the store; the gateway asks
 * for them at every request, so that a deleted preview is closed at once. Functions may be called
 * from any thread but the loop's, unless they say otherwise.
 */
#pragma once

#include "private/records.pb-c.h"
#include "server/sandbox/sandbox.h"
#include "server/store/store.h"
#include "server/util/arena.h"
#include "server/util/secret.h"
#include "server/util/status.h"

struct previews {
    struct store *store;
    struct sandboxes *sandboxes;
    const char *domain; /* of the URLs, such as "localhost" */
    uint16_t port;      /* of the URLs */
};

/* Adds a new preview to the batch. RESOURCE_EXHAUSTED PREVIEW_LIMIT. */
struct status preview_create(const struct previews *previews, const struct sandbox *sandbox,
                             uint32_t port, struct store_batch *batch, struct arena *arena,
                             Crownest__V1__Preview **ret_preview, char ret_token[SECRET_SIZE]);

/* Gives a preview a fresh token in place of the one it had. */
struct status preview_renew(const struct previews *previews, const char *project_id,
                            const char *preview_id, struct store_batch *batch, struct arena *arena,
                            Crownest__V1__Preview **ret_preview, char ret_token[SECRET_SIZE]);

/* NOT_FOUND PREVIEW_NOT_FOUND. */
struct status preview_get(const struct previews *previews, const char *project_id,
                          const char *preview_id, struct arena *arena,
                          Crownest__V1__Preview **ret_preview);
struct status preview_delete(const struct previews *previews, const char *project_id,
                             const char *preview_id, const struct audit_actor *by,
                             struct arena *arena, Crownest__V1__Preview **ret_preview);

/* An entry about it, to be completed. */
struct audit_entry preview_entry(const Crownest__V1__Preview *preview, const char *action,
                                 const struct audit_actor *by);

enum preview_state { PREVIEW_MISSING, PREVIEW_ENDED, PREVIEW_OPEN };

/* What the gateway needs to know; the two are filled unless it is missing. Does not block: may be
 * called from any thread. */
enum preview_state preview_look(const struct previews *previews, const char *preview_id,
                                uint8_t ret_token_hash[SECRET_HASH_SIZE],
                                char ret_sandbox_id[ID_SIZE]);

/* A socket connected to the port inside the sandbox, or a negative errno. */
int preview_connect(const struct previews *previews, const char *preview_id);
