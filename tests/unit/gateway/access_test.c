/* Who gets in: tokens, sessions, and what outsiders learn. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/gateway/harness.h"

#define GET(fields) "GET / HTTP/1.1\r\nConnection: close\r\n" fields "\r\n"
#define ONLY_HOST "Host: " HOST "\r\n"

static struct harness harness;

static int set_up(void **state)
{
    struct gateway_limits limits = gateway_default_limits;

    (void)state;
    limits.recheck_ms = 20;
    limits.linger_ms = 50;
    harness_start(&harness, &limits, app_hello);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    harness_stop(&harness);
    return 0;
}

static void test_token_header(void **state)
{
    (void)state;
    expect_status(ask(&harness, GET(ONLY_HOST)), "401");
    expect_status(ask(&harness, GET(ONLY_HOST "X-CrowNest-Preview-Token: wrong\r\n")), "401");
    expect_status(ask(&harness, GET(ONLY_HOST "X-CrowNest-Preview-Token:\r\n")), "401");
    expect_status(ask(&harness, GET(WITH_TOKEN "X-CrowNest-Preview-Token: " TOKEN "\r\n")), "401");
    assert_int_equal(atomic_load(&harness.connects), 0);
    expect_status(ask(&harness, GET(WITH_TOKEN)), "200");
    assert_int_equal(atomic_load(&harness.connects), 1);
}

static void test_websocket_needs_a_token(void **state)
{
    (void)state;
    expect_status(ask(&harness, "GET / HTTP/1.1\r\n" ONLY_HOST "Connection: Upgrade\r\n"
                                "Upgrade: websocket\r\n\r\n"),
                  "401");
    assert_int_equal(atomic_load(&harness.connects), 0);
}

static void test_deleted_and_ended(void **state)
{
    (void)state;
    atomic_store(&harness.lookup, GATEWAY_ENDED);
    expect_status(ask(&harness, GET(WITH_TOKEN)), "410");
    expect_status(ask(&harness, GET(ONLY_HOST)), "401");
    atomic_store(&harness.lookup, GATEWAY_MISSING);
    expect_status(ask(&harness, GET(WITH_TOKEN)), "404");
    expect_status(ask(&harness, GET(ONLY_HOST)), "404");
}

/* The session that the gateway gives for the token in the URL. */
static char *take_session(const char *target, const char *location)
{
    char request[512], line[512];
    char *value = malloc(256);

    (void)snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\n" ONLY_HOST "\r\n", target);
    (void)snprintf(line, sizeof(line), "\r\nLocation: %s\r\n", location);
    char *answer = ask(&harness, request);

    assert_contains(answer, "HTTP/1.1 303 ");
    assert_contains(answer, line);
    assert_lacks(answer, TOKEN);
    assert_contains(answer, "; Path=/; Max-Age=43200; HttpOnly; SameSite=Lax\r\n");
    assert_lacks(answer, "Domain");
    assert_int_equal(sscanf(strstr(answer, "Set-Cookie: "), "Set-Cookie: %255[^;]", value), 1);
    free(answer);
    return value;
}

static char *with_cookie(const char *line, const char *cookie, const char *more)
{
    char request[1024];

    (void)snprintf(request, sizeof(request),
                   "%s HTTP/1.1\r\nConnection: close\r\n" ONLY_HOST "Cookie: %s\r\n%s\r\n", line,
                   cookie, more);
    return ask(&harness, request);
}

static void test_exchange(void **state)
{
    (void)state;
    char *session = take_session("/a/b?x=1&crownest_token=" TOKEN "&y=2", "/a/b?x=1&y=2");
    char cookies[600];

    expect_status(with_cookie("GET /", session, ""), "200");
    seen_lacks(&harness, "crownest");
    /* Others of that name, planted by a neighbour, do not shut the visitor out. */
    (void)snprintf(cookies, sizeof(cookies), "a=b; crownest_preview=planted; %s; c=d", session);
    expect_status(with_cookie("GET /", cookies, ""), "200");
    seen_contains(&harness, "\r\nCookie: a=b; c=d\r\n");
    seen_lacks(&harness, "crownest");
    session[strlen(session) - 1] ^= 1;
    expect_status(with_cookie("GET /", session, ""), "401");
    free(session);
    /* The token itself is no session. */
    expect_status(with_cookie("GET /", "crownest_preview=" TOKEN, ""), "401");
}

static void test_exchange_never_leaves_the_host(void **state)
{
    (void)state;
    free(take_session("//evil.example/?crownest_token=" TOKEN, "/.//evil.example/"));
    free(take_session("/?crownest_token=" TOKEN, "/"));
    free(take_session("http://" HOST "//e.example?crownest_token=" TOKEN, "/.//e.example"));
}

static void test_exchange_refused(void **state)
{
    (void)state;
    expect_status(ask(&harness, "GET /?crownest_token=wrong HTTP/1.1\r\n" ONLY_HOST "\r\n"), "401");
    expect_status(ask(&harness, "GET /?crownest_token=" TOKEN "&crownest_token=" TOKEN
                                " HTTP/1.1\r\n" ONLY_HOST "\r\n"),
                  "401");
    expect_status(ask(&harness, "POST /?crownest_token=" TOKEN " HTTP/1.1\r\n" ONLY_HOST
                                "Content-Length: 0\r\n\r\n"),
                  "401");
    atomic_store(&harness.lookup, GATEWAY_ENDED);
    expect_status(ask(&harness, "GET /?crownest_token=" TOKEN " HTTP/1.1\r\n" ONLY_HOST "\r\n"),
                  "410");
}

static void test_session_ends_with_the_token(void **state)
{
    (void)state;
    char *session = take_session("/?crownest_token=" TOKEN, "/");

    atomic_store(&harness.rotated, true);
    expect_status(with_cookie("GET /", session, ""), "401");
    free(session);
}

static void test_foreign_origin(void **state)
{
    (void)state;
    char *session = take_session("/?crownest_token=" TOKEN, "/");
    const char *foreign = "Origin: http://prv-01h455vb4pex5vsknk084sn02r.localhost\r\n";
    const char *upgrade = "Origin: null\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";

    expect_status(with_cookie("POST /", session, foreign), "403");
    expect_status(with_cookie("GET /", session, upgrade), "403");
    expect_status(with_cookie("GET /", session, foreign), "200");
    expect_status(with_cookie("POST /", session, "Origin: http://" HOST "\r\n"), "200");
    free(session);
}

static void app_endless(struct harness *h, int fd)
{
    char byte;

    app_read_head(h, fd);
    send_text(fd, "HTTP/1.1 200 OK\r\n\r\nbegun");
    while (read(fd, &byte, 1) == 1)
        ;
}

/* An exchange that is under way ends soon after its preview was deleted or rotated. */
static void test_revoked_while_open(void **state)
{
    (void)state;
    harness.app = app_endless;
    int fd = visit(&harness);

    send_text(fd, GET(WITH_TOKEN));
    free(read_until(fd, "begun"));
    atomic_store(&harness.rotated, true);
    char *rest = read_all(fd);

    assert_lacks(rest, "0\r\n\r\n");
    free(rest);
    (void)close(fd);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_token_header),
        TEST(test_websocket_needs_a_token),
        TEST(test_deleted_and_ended),
        TEST(test_exchange),
        TEST(test_exchange_never_leaves_the_host),
        TEST(test_exchange_refused),
        TEST(test_session_ends_with_the_token),
        TEST(test_foreign_origin),
        TEST(test_revoked_while_open),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
