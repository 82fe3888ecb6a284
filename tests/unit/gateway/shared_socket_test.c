/*
 * The socket of an app is made in its sandbox, where a duplicate can be kept. Whatever is done with
 * that, one visitor waits for it and no other.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/net_tstamp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/gateway/harness.h"

#define UPLOAD "POST /stuck HTTP/1.1\r\n" WITH_TOKEN "Content-Length: 1000000000\r\n\r\n"
#define LINGER_S 60 /* longer than the harness's patience */
#define BODY_MS 4000
#define FULL_MS 2000 /* without room: less than BODY_MS, and more than a busy host makes us wait */

static struct harness harness;
static int arrived[2]; /* a byte for each stuck visitor whose request the app has */
static int leash[2];   /* closed when stuck apps may go */

static void app(struct harness *h, int fd)
{
    struct pollfd let_go = {.fd = leash[0]};
    char byte = 0;

    app_read_head(h, fd);
    if (!strstr(h->seen, "/stuck")) {
        send_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
        return;
    }
    if (write(arrived[1], &byte, 1) != 1)
        abort();
    (void)poll(&let_go, 1, -1);
}

static int set_up(void **state)
{
    struct gateway_limits limits = gateway_default_limits;

    (void)state;
    limits.linger_ms = 50;
    limits.body_ms = BODY_MS;
    assert_int_equal(pipe(arrived), 0);
    assert_int_equal(pipe(leash), 0);
    harness_start(&harness, &limits, app);
    harness.tcp = true;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    /* It has an end while an app's socket is still stuck. */
    gateway_free(harness.gateway);
    harness.gateway = NULL;
    (void)close(leash[1]);
    harness_stop(&harness);
    (void)close(leash[0]);
    (void)close(arrived[0]);
    (void)close(arrived[1]);
    return 0;
}

/* A visitor whose request has reached the app, and the duplicate of the app's socket. */
static int visit_stuck(const char *request, int *ret_held)
{
    int fd = visit(&harness);
    char byte;

    send_text(fd, request);
    read_exactly(arrived[0], &byte, 1);
    *ret_held = atomic_load(&harness.held);
    return fd;
}

/* Until nobody takes any more. */
static void fill(int fd)
{
    static const char block[65536];
    struct pollfd ready = {.fd = fd, .events = POLLOUT};

    (void)fcntl(fd, F_SETFL, O_NONBLOCK);
    while (poll(&ready, 1, FULL_MS) == 1) {
        if (send(fd, block, sizeof(block), MSG_NOSIGNAL) < 0 && errno != EAGAIN)
            break;
    }
}

static void expect_others_served(void)
{
    for (int i = 0; i < 3; i++) {
        expect_status(ask(&harness, "GET / HTTP/1.1\r\nConnection: close\r\n" WITH_TOKEN "\r\n"),
                      "200");
        (void)close(atomic_load(&harness.held));
    }
}

static void test_blocking_while_written(void **state)
{
    int held;

    (void)state;
    int fd = visit_stuck(UPLOAD, &held);

    assert_int_equal(fcntl(held, F_SETFL, 0), 0);
    fill(fd);
    expect_others_served();
    (void)close(fd);
    (void)close(held);
}

/* A time stamp that nobody fetches is told as an error: something to read that is not there. */
static void test_blocking_while_read(void **state)
{
    const int stamps = SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_OPT_TSONLY;
    int held;

    (void)state;
    int fd = visit_stuck("GET /stuck HTTP/1.1\r\n" WITH_TOKEN "\r\n", &held);

    assert_int_equal(fcntl(held, F_SETFL, 0), 0);
    assert_int_equal(setsockopt(held, SOL_SOCKET, SO_TIMESTAMPING, &stamps, sizeof(stamps)), 0);
    send_text(held, "x");
    expect_others_served();
    expect_status(read_all(fd), "502");
    (void)close(fd);
    (void)close(held);
}

static void test_lingering_when_closed(void **state)
{
    const struct linger linger = {.l_onoff = 1, .l_linger = LINGER_S};
    int held;

    (void)state;
    int fd = visit_stuck(UPLOAD, &held);

    fill(fd);
    assert_int_equal(setsockopt(held, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
    (void)close(held);
    /* Now the gateway's is the last one, and it gives it up. */
    expect_status(read_all(fd), "504");
    expect_others_served();
    (void)close(fd);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_blocking_while_written),
        TEST(test_blocking_while_read),
        TEST(test_lingering_when_closed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
