/*
 * What opens a preview: its token in a header, its token once in the URL, or the session cookie
 * that the latter is exchanged for.
 *
 * The cookie holds no token: it is an expiry with an HMAC over it, the preview's id and the hash of
 * its token, under a key that this process made at its start. So it opens one preview only, for
 * half a day at most, not after the token was rotated, and not after a restart of the server. It
 * has no `__Host-` prefix, because that needs Secure and connections are plaintext; its name is
 * `crownest_preview`.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "server/gateway/gateway.h"
#include "server/gateway/request.h"
#include "server/util/buf.h"

#define CREDENTIAL_HEADER "X-CrowNest-Preview-Token"
#define CREDENTIAL_COOKIE "crownest_preview"
#define CREDENTIAL_QUERY "crownest_token"
#define CREDENTIAL_SESSION_S 43200
#define CREDENTIAL_SESSION_SIZE 82 /* expiry, dot, HMAC, NUL */

struct credential_key {
    uint8_t bytes[32];
};

enum credential {
    CREDENTIAL_NONE,     /* none, or a wrong one: 401 */
    CREDENTIAL_GOOD,     /* a cookie of ours: pass it on */
    CREDENTIAL_TOKEN,    /* a good token in the header: pass it on */
    CREDENTIAL_EXCHANGE, /* a good token in the URL: redirect to the clean URL with a cookie */
    CREDENTIAL_FOREIGN,  /* a good cookie, sent along by a page of another origin: 403 */
};

void credential_key_make(struct credential_key *ret_key);

/* now_s: seconds since 1970. */
enum credential credential_check(const struct credential_key *key, const struct request *request,
                                 const uint8_t token_hash[GATEWAY_HASH_SIZE], uint64_t now_s);

/* The cookie's value for a session that ends at expiry_s. */
void credential_session(const struct credential_key *key, const char *preview_id,
                        const uint8_t token_hash[GATEWAY_HASH_SIZE], uint64_t expiry_s,
                        char ret_value[CREDENTIAL_SESSION_SIZE]);

/* Appends the target without our query parameters; the count of those found, and the first. */
unsigned credential_clean_target(struct bytes target, struct bytes *ret_token,
                                 struct buf *ret_target);
