/*
 * Sessions of operators: random tokens, found by their hash at every call as keys are. Functions
 * may be called from any thread; changes of one operator's sessions must not overlap.
 */
#pragma once

#include "private/records.pb-c.h"
#include "server/store/store.h"
#include "server/util/arena.h"
#include "server/util/secret.h"
#include "server/util/status.h"

#define SESSION_PREFIX "cns_"

/* UNAUTHENTICATED SESSION_INVALID, SESSION_EXPIRED. */
struct status session_find(struct store *store, const char *token, struct arena *arena,
                           Crownest__Records__SessionRecord **ret_session);
struct status session_ended(void);   /* UNAUTHENTICATED SESSION_INVALID */
struct status session_expired(void); /* UNAUTHENTICATED SESSION_EXPIRED */

/*
 * Adds a new session to the batch, and the removal of those that have expired, and of the oldest
 * ones beyond LIMIT_SESSIONS_PER_OPERATOR.
 */
void session_add(struct store *store, struct store_batch *batch, const char *name, uint64_t ttl_ms,
                 struct arena *arena, char ret_token[SECRET_SIZE],
                 Crownest__Records__SessionRecord **ret_session);
/* Adds the removal of a session of the operator's, or with NULL of all. */
void session_end(struct store *store, struct store_batch *batch, const char *name,
                 const char *session_id);
/* How many have not expired. */
uint32_t session_count(struct store *store, const char *name, struct arena *arena);
