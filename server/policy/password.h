/*
 * Hashing passwords with argon2id, in 64 MiB and three passes, one at a time: whoever sends many of
 * them gets no more memory and no more processors than that. Functions may be called from any
 * thread.
 */
#pragma once

#include <stdbool.h>

#include "server/util/status.h"

#define PASSWORD_HASH_SIZE 128 /* encoded, with its parameters and its salt */

/* Whoever hashes passwords, one after the other. */
struct password_desk;

struct password_desk *password_desk_new(void);
/* Nobody may be at it. NULL is fine. */
void password_desk_free(struct password_desk *desk);

/*
 * Waits for the turn; password_leave must follow. RESOURCE_EXHAUSTED LOGIN_BUSY when too many wait
 * already.
 */
struct status password_enter(struct password_desk *desk);
void password_leave(struct password_desk *desk);

/* INVALID_ARGUMENT PASSWORD_INVALID at `password`: what is too short or too long. */
struct status password_check(const char *password);

/* Both between enter and leave. UNAVAILABLE PASSWORD_MEMORY. */
struct status password_hash(const char *password, char ret_hash[PASSWORD_HASH_SIZE]);
/*
 * Whether the hash is the password's. hash NULL: there is none, which costs as much and matches
 * nothing.
 */
struct status password_verify(const char *hash, const char *password, bool *ret_match);
