/* What passes through: bodies both ways, connections, and only the fields that may. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/gateway/harness.h"

#define BIG (8U << 20)
#define CLOSE "Connection: close\r\n"

static struct harness harness;

static int set_up(void **state)
{
    struct gateway_limits limits = gateway_default_limits;

    (void)state;
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

static void test_keep_alive(void **state)
{
    (void)state;
    int fd = visit(&harness);

    for (int i = 0; i < 2; i++) {
        send_text(fd, "GET /one HTTP/1.1\r\n" WITH_TOKEN "\r\n");
        char *answer = read_until(fd, "hello");

        assert_lacks(answer, "Connection: close");
        expect_status(answer, "200");
    }
    /* Two at once are answered in turn. */
    send_text(fd,
              "GET /a HTTP/1.1\r\n" WITH_TOKEN "\r\nGET /b HTTP/1.1\r\n" CLOSE WITH_TOKEN "\r\n");
    expect_status(read_until(fd, "hello"), "200");
    expect_status(read_all(fd), "200");
    seen_contains(&harness, "GET /b ");
    assert_int_equal(atomic_load(&harness.connects), 4);
    (void)close(fd);
}

static void test_each_request_is_checked(void **state)
{
    (void)state;
    int fd = visit(&harness);

    send_text(fd, "GET / HTTP/1.1\r\n" WITH_TOKEN "\r\n");
    expect_status(read_until(fd, "hello"), "200");
    send_text(fd, "GET / HTTP/1.1\r\nHost: " HOST "\r\n\r\n");
    expect_status(read_all(fd), "401");
    (void)close(fd);
}

static void app_echo_chunks(struct harness *h, int fd)
{
    app_read_head(h, fd);
    char *body = read_until(fd, "0\r\n\r\n");

    send_text(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n");
    send_bytes(fd, body, strlen(body) - 2);
    send_text(fd, "X: trailer\r\n\r\n");
    free(body);
}

static void test_chunked_both_ways(void **state)
{
    (void)state;
    harness.app = app_echo_chunks;
    char *answer =
        ask(&harness, "POST / HTTP/1.1\r\n" CLOSE WITH_TOKEN "Transfer-Encoding: chunked\r\n\r\n"
                      "5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\nT: x\r\n\r\n");

    seen_contains(&harness, "Transfer-Encoding: chunked\r\n");
    seen_lacks(&harness, "Content-Length");
    assert_contains(answer, "\r\nTransfer-Encoding: chunked\r\n");
    assert_contains(answer, "hello");
    assert_contains(answer, " world");
    assert_lacks(answer, "railer");
    assert_lacks(answer, "ext=1");
    assert_string_equal(answer + strlen(answer) - 7, "\r\n0\r\n\r\n");
    free(answer);
}

static void app_until_close(struct harness *h, int fd)
{
    app_read_head(h, fd);
    send_text(fd, "HTTP/1.0 200 OK\r\n\r\nto the end");
}

static void test_body_until_close(void **state)
{
    (void)state;
    harness.app = app_until_close;
    int fd = visit(&harness);

    send_text(fd, "GET / HTTP/1.1\r\n" WITH_TOKEN "\r\n");
    char *answer = read_until(fd, "0\r\n\r\n");

    assert_contains(answer, "\r\na\r\nto the end\r\n0\r\n\r\n");
    free(answer);
    (void)close(fd);
    /* HTTP/1.0 knows no chunks. */
    answer = ask(&harness, "GET / HTTP/1.0\r\n" WITH_TOKEN "\r\n");
    assert_contains(answer, "\r\nConnection: close\r\n\r\nto the end");
    assert_lacks(answer, "chunked");
    free(answer);
}

static void app_cut_short(struct harness *h, int fd)
{
    app_read_head(h, fd);
    send_text(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel");
}

static void test_cut_short(void **state)
{
    (void)state;
    harness.app = app_cut_short;
    char *answer = ask(&harness, "GET / HTTP/1.1\r\n" WITH_TOKEN "\r\n");

    assert_contains(answer, "hel");
    assert_lacks(answer, "0\r\n\r\n");
    free(answer);
}

static void app_bodiless(struct harness *h, int fd)
{
    app_read_head(h, fd);
    if (strstr(h->seen, "HEAD"))
        send_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
    else if (strstr(h->seen, "/304"))
        send_text(fd, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nHTTP/1.1 200 OK\r\n");
    else
        send_text(fd, "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello");
}

static void test_no_body(void **state)
{
    (void)state;
    harness.app = app_bodiless;
    int fd = visit(&harness);

    send_text(fd, "HEAD / HTTP/1.1\r\n" WITH_TOKEN "\r\n");
    char *answer = read_until(fd, "\r\n\r\n");

    assert_contains(answer, "Content-Length: 5\r\n");
    expect_status(answer, "200");
    send_text(fd, "GET /304 HTTP/1.1\r\n" WITH_TOKEN "\r\n");
    expect_status(read_until(fd, "\r\n\r\n"), "304");
    send_text(fd, "GET /204 HTTP/1.1\r\n" WITH_TOKEN "\r\n");
    answer = read_until(fd, "\r\n\r\n");
    assert_lacks(answer, "Content-Length");
    expect_status(answer, "204");
    send_text(fd, "HEAD / HTTP/1.1\r\n" CLOSE WITH_TOKEN "\r\n");
    expect_status(read_all(fd), "200");
    (void)close(fd);
}

static void app_post(struct harness *h, int fd)
{
    char body[5];

    app_read_head(h, fd);
    read_exactly(fd, body, sizeof(body));
    send_text(fd, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
                  "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
    send_bytes(fd, body, sizeof(body));
}

static void test_continue(void **state)
{
    (void)state;
    harness.app = app_post;
    int fd = visit(&harness);

    /* So often that interim answers of one request must not count for the next. */
    for (int i = 0; i < 9; i++) {
        send_text(fd, "POST / HTTP/1.1\r\n" WITH_TOKEN
                      "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n");
        char *interim = read_until(fd, "\r\n\r\n");

        assert_string_equal(interim, "HTTP/1.1 100 Continue\r\n\r\n");
        free(interim);
        send_text(fd, "12345");
        expect_status(read_until(fd, "12345"), "200");
    }
    seen_lacks(&harness, "Expect");
    (void)close(fd);
}

static void app_big(struct harness *h, int fd)
{
    static uint8_t block[65536];
    uint64_t sum = 0;

    app_read_head(h, fd);
    for (unsigned at = 0; at < BIG; at += sizeof(block)) {
        read_exactly(fd, block, sizeof(block));
        for (size_t i = 0; i < sizeof(block); i++)
            sum = sum * 31 + block[i];
    }
    char head[128];

    (void)snprintf(head, sizeof(head),
                   "HTTP/1.1 200 OK\r\nX-Sum: %llx\r\nContent-Length: %u\r\n\r\n",
                   (unsigned long long)sum, BIG);
    send_text(fd, head);
    for (unsigned at = 0; at < BIG; at += sizeof(block)) {
        memset(block, (int)(at >> 16), sizeof(block));
        send_bytes(fd, block, sizeof(block));
    }
}

static void test_big_both_ways(void **state)
{
    static uint8_t block[65536];
    uint64_t sum = 0;
    char head[512], expected[64];

    (void)state;
    harness.app = app_big;
    int fd = visit(&harness);

    (void)snprintf(head, sizeof(head),
                   "POST / HTTP/1.1\r\n" WITH_TOKEN "Content-Length: %u\r\n\r\n", BIG);
    send_text(fd, head);
    for (unsigned at = 0; at < BIG; at += sizeof(block)) {
        for (size_t i = 0; i < sizeof(block); i++) {
            block[i] = (uint8_t)(at / 65536 + i);
            sum = sum * 31 + block[i];
        }
        send_bytes(fd, block, sizeof(block));
    }
    (void)snprintf(expected, sizeof(expected), "X-Sum: %llx\r\n", (unsigned long long)sum);
    char *answer = read_until(fd, "\r\n\r\n");

    assert_contains(answer, expected);
    expect_status(answer, "200");
    for (unsigned at = 0; at < BIG; at += sizeof(block)) {
        read_exactly(fd, block, sizeof(block));
        assert_int_equal(block[0], (uint8_t)(at >> 16));
        assert_int_equal(block[sizeof(block) - 1], (uint8_t)(at >> 16));
    }
    (void)close(fd);
}

/* Until it closes, takes nothing and gives as much as is taken. */
static void app_stubborn(struct harness *h, int fd)
{
    static const char block[4096];

    app_read_head(h, fd);
    if (strstr(h->seen, "GET")) {
        send_text(fd, "HTTP/1.1 200 OK\r\n\r\n");
        while (send(fd, block, sizeof(block), MSG_NOSIGNAL) > 0)
            (void)atomic_fetch_add(&h->connects, 1);
        return;
    }
    struct pollfd closed = {.fd = fd, .events = POLLRDHUP};

    (void)poll(&closed, 1, 20000);
}

/* Whoever reads nothing makes nobody buffer: the sender is stopped after a bounded amount. */
static void test_backpressure_up(void **state)
{
    static const char block[4096];
    size_t sent = 0;

    (void)state;
    harness.app = app_stubborn;
    int fd = visit(&harness);
    struct pollfd ready = {.fd = fd, .events = POLLOUT};

    send_text(fd, "POST / HTTP/1.1\r\n" WITH_TOKEN "Content-Length: 100000000\r\n\r\n");
    (void)fcntl(fd, F_SETFL, O_NONBLOCK);
    while (poll(&ready, 1, 300) == 1) {
        ssize_t size = send(fd, block, sizeof(block), MSG_NOSIGNAL);

        if (size < 0 && errno != EAGAIN)
            break;
        if (size > 0)
            sent += (size_t)size;
    }
    assert_true(sent > 4096);
    assert_true(sent < (2U << 20));
    (void)close(fd);
}

static void test_backpressure_down(void **state)
{
    unsigned before, now = 0;

    (void)state;
    harness.app = app_stubborn;
    int fd = visit(&harness);

    send_text(fd, "GET / HTTP/1.1\r\n" WITH_TOKEN "\r\n");
    free(read_until(fd, "\r\n\r\n"));
    do {
        before = now;
        (void)poll(NULL, 0, 300);
        now = atomic_load(&harness.connects);
    } while (now != before);
    assert_true(now > 4);
    assert_true(now < (2U << 20) / 4096);
    (void)close(fd);
}

static void test_stripped_from_requests(void **state)
{
    (void)state;
    expect_status(
        ask(&harness,
            "GET /x HTTP/1.1\r\nConnection: close, X-Hop\r\n" WITH_TOKEN
            "X-Hop: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\nProxy-Authorization: p\r\n"
            "Authorization: Bearer cnk_0123456789\r\nX-Api-Key: cnk_0123456789\r\n"
            "X-Forwarded-For: 6.6.6.6\r\nX_Forwarded_Host: evil\r\nForwarded: for=6.6.6.6\r\n"
            "X-Real-IP: 6.6.6.6\r\nx-crownest-other: 1\r\n"
            "Referer: http://" HOST "/?crownest_token=abc\r\n"
            "Cookie: a=1; crownest_preview=x\r\nCookie: Crownest_Preview=y\r\nX-App: 1\r\n\r\n"),
        "200");
    static const char *const gone[] = {
        TOKEN,
        "cnk_",
        "X-Hop",
        "Keep-Alive",
        "TE:",
        "Proxy-",
        "evil",
        "6.6.6",
        "X-Api-Key",
        "crownest",
        "CrowNest",
        "Crownest",
        "\r\nAuthorization",
        "Referer",
    };

    for (size_t i = 0; i < sizeof(gone) / sizeof(gone[0]); i++)
        seen_lacks(&harness, gone[i]);
    seen_contains(&harness, "\r\nCookie: a=1\r\n");
    seen_contains(&harness, "\r\nX-App: 1\r\n");
    seen_contains(&harness, "\r\nHost: " HOST ":7070\r\n");
    seen_contains(&harness, "\r\nX-Forwarded-Host: " HOST ":7070\r\n");
    seen_contains(&harness, "\r\nX-Forwarded-Proto: http\r\n");
    seen_contains(&harness, "\r\nConnection: close\r\n");
    /* An app's own authorization is its own affair; a key hidden in it is not. */
    expect_status(ask(&harness, "GET / HTTP/1.1\r\n" CLOSE WITH_TOKEN
                                "Authorization: Basic dXNlcjpwYXNz\r\n\r\n"),
                  "200");
    seen_contains(&harness, "\r\nAuthorization: Basic dXNlcjpwYXNz\r\n");
    expect_status(ask(&harness, "GET / HTTP/1.1\r\n" CLOSE WITH_TOKEN
                                "Authorization: Basic eDpjbmtfYWJj\r\n\r\n"),
                  "200");
    seen_lacks(&harness, "\r\nAuthorization");
}

static void app_set_cookies(struct harness *h, int fd)
{
    app_read_head(h, fd);
    send_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Private: 1\r\n"
                  "Connection: " HALF_OF_NAMES "\r\nConnection: X-Private\r\n"
                  "Set-Cookie: a=1; Path=/; Domain=localhost; HttpOnly\r\n"
                  "Set-Cookie: b=2 ;DOMAIN = .localhost\r\n"
                  "Set-Cookie: crownest_preview=stolen\r\nSet-Cookie: CrowNest_Preview =stolen\r\n"
                  "Set-Cookie: =crownest_preview=stolen\r\nSet-Cookie: stolen\r\n"
                  "Alt-Svc: h2=\":1\"\r\nKeep-Alive: timeout=5\r\nX-App: yes\r\n\r\n");
}

static void test_stripped_from_responses(void **state)
{
    (void)state;
    harness.app = app_set_cookies;
    char *answer = ask(&harness, "GET / HTTP/1.1\r\n" CLOSE WITH_TOKEN "\r\n");

    assert_contains(answer, "\r\nSet-Cookie: a=1; Path=/; HttpOnly\r\n");
    assert_contains(answer, "\r\nSet-Cookie: b=2 \r\n");
    assert_lacks(answer, "stolen");
    assert_lacks(answer, "ocalhost");
    assert_lacks(answer, "X-Private");
    assert_lacks(answer, "Alt-Svc");
    assert_lacks(answer, "Keep-Alive");
    assert_contains(answer, "\r\nX-App: yes\r\n");
    assert_contains(answer, "\r\nConnection: close\r\n");
    free(answer);
}

static _Atomic(const char *) bad_answer;

static void app_bad(struct harness *h, int fd)
{
    app_read_head(h, fd);
    send_text(fd, atomic_load(&bad_answer));
}

static void test_bad_answers(void **state)
{
    static const char *const answers[] = {
        "",
        "nonsense",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        "HTTP/1.1 999 What\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nConnection: " HALF_OF_NAMES "\r\nConnection: " HALF_OF_NAMES
        "\r\nContent-Length: 0\r\n\r\n",
    };

    (void)state;
    harness.app = app_bad;
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        atomic_store(&bad_answer, answers[i]);
        expect_status(ask(&harness, "GET / HTTP/1.1\r\n" CLOSE WITH_TOKEN "\r\n"), "502");
    }
}

static void app_interim_for_ever(struct harness *h, int fd)
{
    app_read_head(h, fd);
    for (int i = 0; i <= GATEWAY_INTERIM_ANSWERS; i++)
        send_text(fd, "HTTP/1.1 103 Early Hints\r\n\r\n");
    char *rest = read_all(fd);

    free(rest);
}

static void test_endless_interim(void **state)
{
    (void)state;
    harness.app = app_interim_for_ever;
    expect_status(ask(&harness, "GET / HTTP/1.1\r\n" WITH_TOKEN "\r\n"), "502");
}

static void test_nothing_listens(void **state)
{
    (void)state;
    atomic_store(&harness.connect_error, -ECONNREFUSED);
    expect_status(ask(&harness, "GET / HTTP/1.1\r\n" WITH_TOKEN "\r\n"), "502");
    atomic_store(&harness.connect_error, -ETIMEDOUT);
    expect_status(ask(&harness, "GET / HTTP/1.1\r\n" WITH_TOKEN "\r\n"), "504");
}

/* Answers at once and takes none of the body. */
static void app_early(struct harness *h, int fd)
{
    app_read_head(h, fd);
    send_text(fd, "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno");
}

static void test_early_answer(void **state)
{
    (void)state;
    harness.app = app_early;
    expect_status(ask(&harness, "POST / HTTP/1.1\r\n" WITH_TOKEN "Content-Length: 100000\r\n\r\nx"
                                "GET / HTTP/1.1\r\n" WITH_TOKEN "\r\n"),
                  "413");
    assert_int_equal(atomic_load(&harness.connects), 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_keep_alive),
        TEST(test_each_request_is_checked),
        TEST(test_chunked_both_ways),
        TEST(test_body_until_close),
        TEST(test_cut_short),
        TEST(test_no_body),
        TEST(test_continue),
        TEST(test_big_both_ways),
        TEST(test_backpressure_up),
        TEST(test_backpressure_down),
        TEST(test_stripped_from_requests),
        TEST(test_stripped_from_responses),
        TEST(test_bad_answers),
        TEST(test_endless_interim),
        TEST(test_nothing_listens),
        TEST(test_early_answer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
