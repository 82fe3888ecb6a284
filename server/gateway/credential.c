#include "server/gateway/credential.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/gateway/field.h"

#define TOKEN_BYTES 256
#define COOKIES_TRIED 8 /* a neighbouring host can plant cookies of our name, but not hide ours */

void credential_key_make(struct credential_key *ret_key)
{
    if (RAND_bytes(ret_key->bytes, sizeof(ret_key->bytes)) != 1)
        abort();
}

static bool token_is(struct bytes token, const uint8_t token_hash[GATEWAY_HASH_SIZE])
{
    uint8_t hash[GATEWAY_HASH_SIZE];

    if (token.size == 0 || token.size > TOKEN_BYTES)
        return false;
    if (EVP_Digest(token.data, token.size, hash, NULL, EVP_sha256(), NULL) != 1)
        return false;
    return CRYPTO_memcmp(hash, token_hash, sizeof(hash)) == 0;
}

void credential_session(const struct credential_key *key, const char *preview_id,
                        const uint8_t token_hash[GATEWAY_HASH_SIZE], uint64_t expiry_s,
                        char ret_value[CREDENTIAL_SESSION_SIZE])
{
    uint8_t text[GATEWAY_ID_SIZE + GATEWAY_HASH_SIZE + 17] = {0};
    uint8_t mac[32];
    int at = snprintf(ret_value, CREDENTIAL_SESSION_SIZE, "%016llx.", (unsigned long long)expiry_s);

    memcpy(text, preview_id, strnlen(preview_id, GATEWAY_ID_SIZE - 1));
    memcpy(text + GATEWAY_ID_SIZE, token_hash, GATEWAY_HASH_SIZE);
    memcpy(text + GATEWAY_ID_SIZE + GATEWAY_HASH_SIZE, ret_value, (size_t)at);
    if (!HMAC(EVP_sha256(), key->bytes, sizeof(key->bytes), text, sizeof(text), mac, NULL))
        abort();
    for (size_t i = 0; i < sizeof(mac); i++)
        (void)snprintf(ret_value + at + 2 * i, 3, "%02x", mac[i]);
}

static bool session_is(const struct credential_key *key, const struct request *request,
                       const uint8_t token_hash[GATEWAY_HASH_SIZE], struct bytes value,
                       uint64_t now_s)
{
    char expected[CREDENTIAL_SESSION_SIZE];
    char expiry[17] = {0};

    if (value.size != CREDENTIAL_SESSION_SIZE - 1)
        return false;
    memcpy(expiry, value.data, sizeof(expiry) - 1);
    uint64_t expiry_s = strtoull(expiry, NULL, 16);

    credential_session(key, request->preview_id, token_hash, expiry_s, expected);
    return CRYPTO_memcmp(expected, value.data, value.size) == 0 && now_s < expiry_s;
}

static bool cookie_is_good(const struct credential_key *key, const struct request *request,
                           const uint8_t token_hash[GATEWAY_HASH_SIZE], uint64_t now_s)
{
    const struct message *message = request->message;
    unsigned tried = 0;

    for (unsigned i = 0; i < message->field_count; i++) {
        if (!field_is(message_name(message, i), "Cookie"))
            continue;
        struct bytes cookies = message_value(message, i);
        struct bytes pair, name;

        while (field_split_next(&cookies, ';', &pair) && tried < COOKIES_TRIED) {
            struct bytes value = field_trim(pair);

            if (!field_split_next(&value, '=', &name) || !field_is(name, CREDENTIAL_COOKIE))
                continue;
            tried++;
            if (session_is(key, request, token_hash, value, now_s))
                return true;
        }
    }
    return false;
}

/*
 * Previews of one domain are the same site to a browser, so SameSite=Lax sends our cookie along
 * with what one preview's page asks of another. Reading the answer is up to CORS; changing
 * something, or opening a WebSocket, needs the page's own origin here.
 */
static bool is_foreign(const struct request *request)
{
    static const char *const schemes[] = {"http://", "https://"};
    const struct message *message = request->message;

    if (request->is_safe && !request->websocket)
        return false;
    for (unsigned i = 0; i < message->field_count; i++) {
        if (!field_is(message_name(message, i), "Origin"))
            continue;
        struct bytes origin = field_trim(message_value(message, i));
        bool same = false;

        for (unsigned s = 0; s < 2; s++) {
            size_t skip = strlen(schemes[s]);

            if (origin.size == skip + request->host.size && field_begins(origin, schemes[s]) &&
                strncasecmp((const char *)origin.data + skip, (const char *)request->host.data,
                            request->host.size) == 0)
                same = true;
        }
        if (!same)
            return true;
    }
    return false;
}

/* The token header: 1 good, 0 none, -1 wrong. */
static int check_header(const struct request *request, const uint8_t token_hash[GATEWAY_HASH_SIZE])
{
    const struct message *message = request->message;
    int result = 0;

    for (unsigned i = 0; i < message->field_count; i++) {
        if (!field_is(message_name(message, i), CREDENTIAL_HEADER))
            continue;
        if (result != 0 || !token_is(field_trim(message_value(message, i)), token_hash))
            return -1;
        result = 1;
    }
    return result;
}

unsigned credential_clean_target(struct bytes target, struct bytes *ret_token,
                                 struct buf *ret_target)
{
    struct bytes query = target;
    struct bytes path, part;
    unsigned count = 0;
    char separator = '?';

    *ret_token = bytes_of("", 0);
    if (field_split_next(&query, '?', &path))
        buf_append(ret_target, path.data, path.size);
    while (field_split_next(&query, '&', &part)) {
        struct bytes value = part, name;

        if (field_split_next(&value, '=', &name) && name.size == strlen(CREDENTIAL_QUERY) &&
            memcmp(name.data, CREDENTIAL_QUERY, name.size) == 0) {
            if (count++ == 0)
                *ret_token = value;
            continue;
        }
        buf_append(ret_target, &separator, 1);
        buf_append(ret_target, part.data, part.size);
        separator = '&';
    }
    return count;
}

enum credential credential_check(const struct credential_key *key, const struct request *request,
                                 const uint8_t token_hash[GATEWAY_HASH_SIZE], uint64_t now_s)
{
    cleanup_buf struct buf clean = {0};
    struct bytes token;
    unsigned tokens = credential_clean_target(request->target, &token, &clean);

    if (tokens > 0) {
        /* A redirect would lose a body, and a WebSocket cannot follow one. */
        if (tokens > 1 || !request->is_safe || request->has_body || request->websocket)
            return CREDENTIAL_NONE;
        return token_is(token, token_hash) ? CREDENTIAL_EXCHANGE : CREDENTIAL_NONE;
    }
    int header = check_header(request, token_hash);

    if (header != 0)
        return header > 0 ? CREDENTIAL_TOKEN : CREDENTIAL_NONE;
    if (!cookie_is_good(key, request, token_hash, now_s))
        return CREDENTIAL_NONE;
    return is_foreign(request) ? CREDENTIAL_FOREIGN : CREDENTIAL_GOOD;
}
