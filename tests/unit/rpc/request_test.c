#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/rpc/fixture.h"

#define PATH_CREATE "/crownest.v1.SandboxService/Create"

static void send(struct client_call *call, const char *path, const void *data, size_t size)
{
    client_start(&fixture.client, call, path);
    client_send(call, data, size);
    client_close(call);
    client_finish(call);
}

static void expect_refused(const char *path, const char *data, size_t size, const char *reason,
                           const char *field)
{
    struct client_call call;

    send(&call, path, data, size);
    client_expect(&call, GRPC_STATUS_INVALID_ARGUMENT, reason, field);
    client_call_done(&call);
}

#define REFUSED(path, text, reason, field)                                                         \
    expect_refused(path, text, sizeof(text) - 1, reason, field)

static void test_malformed(void **state)
{
    (void)state;
    REFUSED(PATH_GET, "\x0a", "REQUEST_MALFORMED", NULL); /* no length */
    REFUSED(PATH_GET,
            "\x0a\x05"
            "ab",
            "REQUEST_MALFORMED", NULL);                       /* cut */
    REFUSED(PATH_GET, "\x0b", "REQUEST_MALFORMED", NULL);     /* a group */
    REFUSED(PATH_GET, "\x02\x00", "REQUEST_MALFORMED", NULL); /* field 0 */
    REFUSED(PATH_GET, "\x08\x01", "REQUEST_MALFORMED", NULL); /* a number for a text */
    REFUSED(PATH_GET, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "REQUEST_MALFORMED", NULL);
    REFUSED(PATH_LOGS, "\x0a", "REQUEST_MALFORMED", NULL);
    REFUSED(PATH_WRITE, "\x0a\x7f", "REQUEST_MALFORMED", NULL);
}

static void test_text_is_utf8(void **state)
{
    (void)state;
    REFUSED(PATH_GET,
            "\x0a\x02"
            "a\xff",
            "TEXT_INVALID", "sandbox_id");
    REFUSED(PATH_GET,
            "\x0a\x02"
            "\xc0\x80",
            "TEXT_INVALID", "sandbox_id"); /* overlong */
    REFUSED(PATH_GET,
            "\x0a\x03"
            "\xed\xa0\x80",
            "TEXT_INVALID", "sandbox_id"); /* a surrogate */
    REFUSED(PATH_GET,
            "\x0a\x04"
            "\xf4\x90\x80\x80",
            "TEXT_INVALID", "sandbox_id");
    REFUSED(PATH_GET,
            "\x0a\x02"
            "\xe2\x82",
            "TEXT_INVALID", "sandbox_id"); /* cut */
}

static void test_text_has_no_nul(void **state)
{
    (void)state;
    REFUSED(PATH_GET,
            "\x0a\x03"
            "a\0b",
            "TEXT_INVALID", "sandbox_id");
    REFUSED(PATH_LOGS,
            "\x0a\x01"
            "\0",
            "TEXT_INVALID", "command_id");
}

/* Create's labels (5) and env (6) are maps: key 1, value 2. Write's open (1) has path 2. */
static void test_nested_text(void **state)
{
    (void)state;
    REFUSED(PATH_CREATE,
            "\x2a\x06"
            "\x0a\x01k\x12\x01\xff",
            "TEXT_INVALID", "labels.value");
    REFUSED(PATH_CREATE,
            "\x32\x03"
            "\x0a\x01\xff",
            "TEXT_INVALID", "env.key");
    REFUSED(PATH_WRITE,
            "\x0a\x03"
            "\x12\x01\xff",
            "TEXT_INVALID", "open.path");
}

static void test_bytes_may_be_anything(void **state)
{
    struct client_call call;

    (void)state;
    send(&call, PATH_WRITE,
         "\x12\x03"
         "\xff\0\xfe",
         5);
    assert_int_equal(call.code, GRPC_STATUS_OK);
    client_call_done(&call);
}

static void test_unknown_fields_pass(void **state)
{
    struct client_call call;

    (void)state;
    send(&call, PATH_GET,
         "\x0a\x01"
         "a"
         "\xa2\x06\x01\xff",
         7);
    assert_int_equal(call.code, GRPC_STATUS_OK);
    client_call_done(&call);
}

static void expect_too_large(const char *path, size_t size, bool ours)
{
    struct client_call call;
    uint8_t *data = calloc(1, size);

    assert_non_null(data);
    /* Field 100, bytes: unknown everywhere. */
    memcpy(data, "\xa2\x06", 2);
    send(&call, path, data, size);
    assert_int_equal(call.code, GRPC_STATUS_RESOURCE_EXHAUSTED);
    if (ours)
        client_expect(&call, GRPC_STATUS_RESOURCE_EXHAUSTED, "REQUEST_TOO_LARGE", NULL);
    client_call_done(&call);
    free(data);
}

static void test_too_large(void **state)
{
    (void)state;
    expect_too_large(PATH_GET, rpc_methods[RPC_SANDBOX_GET].max_request_bytes + 1, true);
    expect_too_large(PATH_LOGS, rpc_methods[RPC_COMMAND_STREAM_LOGS].max_request_bytes + 1, true);
    expect_too_large(PATH_WRITE, rpc_methods[RPC_FILE_WRITE].max_request_bytes + 1, true);
    expect_too_large(PATH_CREATE, rpc_methods[RPC_SANDBOX_CREATE].max_request_bytes + 1, true);
    /* gRPC itself stops reading here. */
    expect_too_large(PATH_GET, 40U << 20, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_malformed),
        FIXTURE_TEST(test_text_is_utf8),
        FIXTURE_TEST(test_text_has_no_nul),
        FIXTURE_TEST(test_nested_text),
        FIXTURE_TEST(test_bytes_may_be_anything),
        FIXTURE_TEST(test_unknown_fields_pass),
        FIXTURE_TEST(test_too_large),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
