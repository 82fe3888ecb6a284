/*
 * When keys were last used: a record beside the key's, written unsynced and at most once a minute
 * and key, so that calls cost no more for it. Functions may be called from any thread.
 */
#pragma once

#include <stdint.h>

#include "server/store/store.h"

struct key_uses;

struct key_uses *key_uses_new(struct store *store);
/* NULL is fine. */
void key_uses_free(struct key_uses *uses);

/* The key was used at now_ms of the wall clock. What cannot be written is not known later. */
void key_uses_note(struct key_uses *uses, const char *key_id, uint64_t now_ms);

/* Milliseconds since 1970; 0: never. */
uint64_t key_last_use(struct store *store, const char *key_id);
