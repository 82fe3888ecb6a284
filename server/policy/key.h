/*
 * API keys. A key is found by the hash of its secret at every call, so that a revoked one fails on
 * the next. Functions may be called from any thread.
 */
#pragma once

#include "private/records.pb-c.h"
#include "server/audit/audit.h"
#include "server/store/store.h"
#include "server/util/arena.h"
#include "server/util/secret.h"
#include "server/util/status.h"

/* Adds a new key to the batch; fields besides id and create_time are the caller's. */
void key_create(struct store_batch *batch, Crownest__V1__Key *key, struct arena *arena,
                char ret_secret[SECRET_SIZE]);

/* NOT_FOUND KEY_NOT_FOUND. */
struct status key_get(struct store *store, const char *key_id, struct arena *arena,
                      Crownest__V1__Key **ret_key);

/* Gives a key a fresh secret in place of the one it had. NOT_FOUND. */
struct status key_renew(struct store *store, struct store_batch *batch, const char *key_id,
                        struct arena *arena, Crownest__V1__Key **ret_key,
                        char ret_secret[SECRET_SIZE]);

/* NOT_FOUND KEY_NOT_FOUND. Revoking a revoked one changes nothing. */
struct status key_revoke(struct store *store, const char *key_id, const struct audit_actor *by,
                         struct arena *arena, Crownest__V1__Key **ret_key);

/* UNAUTHENTICATED KEY_INVALID, KEY_REVOKED, KEY_EXPIRED. */
struct status key_authenticate(struct store *store, const char *secret, struct arena *arena,
                               Crownest__V1__Key **ret_key);

/* UNAUTHENTICATED KEY_REVOKED. */
struct status key_revoked(void);
/* UNAUTHENTICATED KEY_EXPIRED. */
struct status key_expired(void);

bool key_has_scope(const Crownest__V1__Key *key, const char *scope);
