/* What takes too long, or is too much. */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/util/clock.h"
#include "tests/unit/gateway/harness.h"

static struct harness harness;

static void start(void (*change)(struct gateway_limits *limits),
                  void (*app)(struct harness *harness, int fd))
{
    struct gateway_limits limits = gateway_default_limits;

    limits.linger_ms = 50;
    change(&limits);
    harness_start(&harness, &limits, app);
}

static void app_mute(struct harness *h, int fd)
{
    char byte;

    app_read_head(h, fd);
    while (read(fd, &byte, 1) == 1)
        ;
}

static void app_half(struct harness *h, int fd)
{
    app_read_head(h, fd);
    send_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    char byte;

    while (read(fd, &byte, 1) == 1)
        ;
}

static void short_head(struct gateway_limits *limits)
{
    limits->head_ms = 300;
}

/* Bytes that trickle in do not extend the time for a head. */
static void test_slow_head(void **state)
{
    (void)state;
    start(short_head, app_hello);
    int fd = visit(&harness);
    uint64_t begin = clock_monotonic_ms();
    char byte;

    send_text(fd, "GET / HTTP/1.1\r\nX: ");
    /* Each pass lasts a tenth of the time for the head: without a bound the loop never ends. */
    struct timeval tenth = {.tv_usec = 30000};

    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tenth, sizeof(tenth));
    while (recv(fd, &byte, 1, MSG_PEEK) < 0)
        send_text(fd, "y");
    expect_status(read_all(fd), "408");
    assert_in_range(clock_monotonic_ms() - begin, 290, 5000);
    (void)close(fd);
    /* One that sends nothing at all is just closed. */
    fd = visit(&harness);
    char *nothing = read_all(fd);

    assert_string_equal(nothing, "");
    free(nothing);
    (void)close(fd);
    harness_stop(&harness);
}

static void short_keep_alive(struct gateway_limits *limits)
{
    limits->keep_alive_ms = 100;
}

static void test_idle(void **state)
{
    (void)state;
    start(short_keep_alive, app_hello);
    int fd = visit(&harness);

    send_text(fd, "GET / HTTP/1.1\r\n" WITH_TOKEN "\r\n");
    free(read_until(fd, "hello"));
    char *nothing = read_all(fd);

    assert_string_equal(nothing, "");
    free(nothing);
    (void)close(fd);
    harness_stop(&harness);
}

static void short_body(struct gateway_limits *limits)
{
    limits->body_ms = 100;
}

static void test_slow_body(void **state)
{
    (void)state;
    start(short_body, app_mute);
    expect_status(ask(&harness, "POST / HTTP/1.1\r\n" WITH_TOKEN "Content-Length: 10\r\n\r\nhalf"),
                  "408");
    harness_stop(&harness);
}

static void short_answer(struct gateway_limits *limits)
{
    limits->answer_ms = 100;
}

/* The answer itself may take its time, as it does on a busy machine. */
static void short_stream(struct gateway_limits *limits)
{
    limits->stream_ms = 100;
    limits->tunnel_ms = 100;
}

static void test_slow_answer(void **state)
{
    (void)state;
    start(short_answer, app_mute);
    expect_status(ask(&harness, "GET / HTTP/1.1\r\n" WITH_TOKEN "\r\n"), "504");
    harness_stop(&harness);
    start(short_stream, app_half);
    char *answer = ask(&harness, "GET / HTTP/1.1\r\n" WITH_TOKEN "\r\n");

    assert_string_equal(answer + strlen(answer) - 4, "half");
    free(answer);
    harness_stop(&harness);
}

/* Takes nothing, and gives as much as is taken. */
static void app_one_way(struct harness *h, int fd)
{
    static const char block[4096];
    struct pollfd closed = {.fd = fd, .events = POLLRDHUP};

    app_read_head(h, fd);
    if (strstr(h->seen, "POST")) {
        (void)poll(&closed, 1, -1);
        return;
    }
    send_text(fd, "HTTP/1.1 200 OK\r\n\r\n");
    while (send(fd, block, sizeof(block), MSG_NOSIGNAL) > 0)
        ;
}

/* Time runs also while much waits to be taken, be it by the app or by the visitor. */
static void test_nothing_taken(void **state)
{
    static const char block[4096];

    (void)state;
    start(short_body, app_one_way);
    int fd = visit(&harness);

    send_text(fd, "POST / HTTP/1.1\r\n" WITH_TOKEN "Content-Length: 1000000000\r\n\r\n");
    while (send(fd, block, sizeof(block), MSG_NOSIGNAL | MSG_DONTWAIT) > 0 || errno == EAGAIN) {
        struct pollfd ready = {.fd = fd, .events = POLLIN | POLLOUT};

        assert_int_equal(poll(&ready, 1, PATIENCE_MS), 1);
        if (ready.revents & POLLIN)
            break;
    }
    expect_status(read_all(fd), "504");
    (void)close(fd);
    harness_stop(&harness);
    start(short_stream, app_one_way);
    fd = visit(&harness);
    send_text(fd, "GET / HTTP/1.1\r\n" WITH_TOKEN "\r\n");
    struct pollfd cut = {.fd = fd};

    assert_int_equal(poll(&cut, 1, PATIENCE_MS), 1);
    (void)close(fd);
    harness_stop(&harness);
}

static void app_quiet_socket(struct harness *h, int fd)
{
    app_read_head(h, fd);
    send_text(fd, "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n");
    char byte;

    while (read(fd, &byte, 1) == 1)
        ;
}

static void test_idle_tunnel(void **state)
{
    (void)state;
    start(short_stream, app_quiet_socket);
    expect_status(ask(&harness, "GET / HTTP/1.1\r\n" WITH_TOKEN
                                "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
                  "101");
    harness_stop(&harness);
}

static void few(struct gateway_limits *limits)
{
    limits->connections = 3;
}

static void test_connections(void **state)
{
    int fds[3];

    (void)state;
    start(few, app_hello);
    for (int i = 0; i < 3; i++)
        fds[i] = visit(&harness);
    char *nothing = ask(&harness, "GET / HTTP/1.1\r\n" WITH_TOKEN "\r\n");

    assert_string_equal(nothing, "");
    free(nothing);
    /* Those that are in are served, and their places become free again. */
    for (int i = 0; i < 3; i++) {
        send_text(fds[i], "GET / HTTP/1.1\r\nConnection: close\r\n" WITH_TOKEN "\r\n");
        expect_status(read_all(fds[i]), "200");
        (void)close(fds[i]);
    }
    for (;;) {
        char *answer = ask(&harness, "GET / HTTP/1.1\r\nConnection: close\r\n" WITH_TOKEN "\r\n");
        bool served = answer[0] != 0;

        if (served)
            expect_status(answer, "200");
        else
            free(answer);
        if (served)
            break;
    }
    harness_stop(&harness);
}

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static atomic_uint in_hook;

/* Previews "p" and "q" are of one sandbox, "r" is of another. */
static enum gateway_lookup open_to_all(void *arg, const char *preview_id,
                                       struct gateway_preview *ret_preview)
{
    /* SHA-256 of "x". */
    static const uint8_t hash[GATEWAY_HASH_SIZE] = {
        0x2d, 0x71, 0x16, 0x42, 0xb7, 0x26, 0xb0, 0x44, 0x01, 0x62, 0x7c,
        0xa9, 0xfb, 0xac, 0x32, 0xf5, 0xc8, 0x53, 0x0f, 0xb1, 0x90, 0x3c,
        0xc4, 0xdb, 0x02, 0x25, 0x87, 0x17, 0x92, 0x1a, 0x48, 0x81,
    };

    (void)arg;
    memcpy(ret_preview->token_hash, hash, sizeof(hash));
    ret_preview->sandbox_id[0] = preview_id[strlen(preview_id) - 1] == 'r' ? 'b' : 'a';
    ret_preview->sandbox_id[1] = 0;
    return GATEWAY_OPEN;
}

/* The first sandbox hangs until the gate opens, any other refuses at once. */
static int hang_or_refuse(void *arg, const char *preview_id)
{
    (void)arg;
    if (preview_id[strlen(preview_id) - 1] == 'r')
        return -111;
    (void)atomic_fetch_add(&in_hook, 1);
    (void)pthread_mutex_lock(&gate);
    (void)pthread_mutex_unlock(&gate);
    (void)atomic_fetch_sub(&in_hook, 1);
    return -111;
}

#define TO(last)                                                                                   \
    "GET / HTTP/1.1\r\nHost: prv-01h455vb4pex5vsknk084sn02" last ".localhost\r\n"                  \
    "X-CrowNest-Preview-Token: x\r\n\r\n"

/*
 * A sandbox whose connects hang holds up neither the others nor the end of the gateway, however
 * many previews it has: six places there are, four it may have, two of them being connected.
 */
static void test_hanging_connect(void **state)
{
    struct gateway_options options = {.domain = "localhost",
                                      .hooks = {.lookup = open_to_all, .connect = hang_or_refuse}};
    struct gateway_limits limits = gateway_default_limits;
    int fds[4];

    (void)state;
    limits.linger_ms = 50;
    limits.connect_ms = 1000;
    limits.passages = 6;
    limits.passages_per_sandbox = 4;
    limits.connects_per_sandbox = 2;
    (void)pthread_mutex_lock(&gate);
    assert_int_equal(gateway_new_limited(&options, &limits, &harness.gateway, NULL), 0);
    for (int i = 0; i < 4; i++) {
        fds[i] = visit(&harness);
        send_text(fds[i], i % 2 ? TO("p") : TO("q"));
    }
    expect_status(ask(&harness, TO("r")), "502");
    expect_status(ask(&harness, TO("q")), "503");
    expect_status(ask(&harness, TO("p")), "503");
    for (int i = 0; i < 4; i++) {
        expect_status(read_all(fds[i]), "504");
        (void)close(fds[i]);
    }
    assert_int_equal(atomic_load(&in_hook), 2);
    expect_status(ask(&harness, TO("r")), "502");
    (void)pthread_mutex_unlock(&gate);
    /* When it has answered it may be asked again. */
    while (atomic_load(&in_hook) > 0)
        (void)sched_yield();
    expect_status(ask(&harness, TO("p")), "502");
    gateway_free(harness.gateway);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slow_head),       cmocka_unit_test(test_idle),
        cmocka_unit_test(test_slow_body),       cmocka_unit_test(test_slow_answer),
        cmocka_unit_test(test_idle_tunnel),     cmocka_unit_test(test_connections),
        cmocka_unit_test(test_hanging_connect), cmocka_unit_test(test_nothing_taken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
