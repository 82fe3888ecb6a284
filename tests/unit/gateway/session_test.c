/* What a session cookie is good for, and until when. */
#include <event2/buffer.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "server/gateway/credential.h"

#define ID "prv_01h455vb4pex5vsknk084sn02q"
#define EXPIRY_S 1000

static struct credential_key key = {{1, 2, 3}};
static uint8_t hash[GATEWAY_HASH_SIZE] = {4, 5, 6};

static enum credential check(const char *cookie, uint64_t now_s)
{
    struct evbuffer *input = evbuffer_new();
    struct message message;
    struct request request;

    (void)evbuffer_add_printf(input,
                              "GET / HTTP/1.1\r\n"
                              "Host: prv-01h455vb4pex5vsknk084sn02q.localhost\r\n"
                              "Cookie: crownest_preview=%s\r\n\r\n",
                              cookie);
    message_init(&message, HTTP_REQUEST);
    assert_int_equal(message_read_head(&message, input), 1);
    assert_int_equal(request_check(&message, "localhost", &request), 0);
    enum credential result = credential_check(&key, &request, hash, now_s);

    message_done(&message);
    evbuffer_free(input);
    return result;
}

static void test_expiry(void **state)
{
    char session[CREDENTIAL_SESSION_SIZE];

    (void)state;
    credential_session(&key, ID, hash, EXPIRY_S, session);
    assert_int_equal(check(session, EXPIRY_S - 1), CREDENTIAL_GOOD);
    assert_int_equal(check(session, EXPIRY_S), CREDENTIAL_NONE);
    /* The expiry cannot be moved. */
    session[0] = 'f';
    assert_int_equal(check(session, EXPIRY_S - 1), CREDENTIAL_NONE);
}

static void test_bound_to_preview_key_and_token(void **state)
{
    char session[CREDENTIAL_SESSION_SIZE];
    struct credential_key other_key = {{9}};
    uint8_t other_hash[GATEWAY_HASH_SIZE] = {9};

    (void)state;
    credential_session(&key, "prv_01h455vb4pex5vsknk084sn02r", hash, EXPIRY_S, session);
    assert_int_equal(check(session, 1), CREDENTIAL_NONE);
    credential_session(&other_key, ID, hash, EXPIRY_S, session);
    assert_int_equal(check(session, 1), CREDENTIAL_NONE);
    credential_session(&key, ID, other_hash, EXPIRY_S, session);
    assert_int_equal(check(session, 1), CREDENTIAL_NONE);
    session[CREDENTIAL_SESSION_SIZE - 2] = 0;
    assert_int_equal(check(session, 1), CREDENTIAL_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_bound_to_preview_key_and_token),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
