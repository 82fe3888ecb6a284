/* Bytes between two sockets, to the end of each way. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/gateway/passage.h"
#include "tests/unit/gateway/harness.h"

#define LINGER_MS 100
#define BIG (8U << 20)

/* The far ends are the test's. */
struct passage {
    int app, gateway;           /* far ends */
    int near_app, near_gateway; /* closed by the passage's thread */
    pthread_t thread;
    size_t sent; /* by the app, as it was counted */
};

static void count(void *arg, size_t bytes)
{
    *(size_t *)arg += bytes;
}

static void *run(void *arg)
{
    struct passage *passage = arg;

    passage_run(passage->near_app, passage->near_gateway, LINGER_MS,
                &(struct passage_meter){.sent = count, .arg = &passage->sent});
    (void)close(passage->near_app);
    (void)close(passage->near_gateway);
    return NULL;
}

static int set_up(void **state)
{
    static struct passage passage;
    int app[2], gateway[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, app), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, gateway), 0);
    passage = (struct passage){
        .app = app[0], .near_app = app[1], .gateway = gateway[0], .near_gateway = gateway[1]};
    assert_int_equal(pthread_create(&passage.thread, NULL, run, &passage), 0);
    *state = &passage;
    return 0;
}

static void expect_text(int fd, const char *text)
{
    char *got = read_until(fd, text);

    assert_string_equal(got, text);
    free(got);
}

static void expect_end(int fd)
{
    char *got = read_all(fd);

    assert_string_equal(got, "");
    free(got);
}

static void test_each_way_ends_by_itself(void **state)
{
    struct passage *passage = *state;

    send_text(passage->gateway, "up");
    expect_text(passage->app, "up");
    send_text(passage->app, "down");
    assert_int_equal(shutdown(passage->app, SHUT_WR), 0);
    expect_text(passage->gateway, "down");
    expect_end(passage->gateway);
    send_text(passage->gateway, "still");
    expect_text(passage->app, "still");
    (void)close(passage->gateway);
    expect_end(passage->app);
    (void)pthread_join(passage->thread, NULL);
    assert_int_equal(passage->sent, strlen("down"));
    (void)close(passage->app);
}

/* Who reads no more may still have something to say. */
static void test_deaf_app(void **state)
{
    struct passage *passage = *state;

    assert_int_equal(shutdown(passage->app, SHUT_RD), 0);
    while (send(passage->gateway, "x", 1, MSG_NOSIGNAL) == 1)
        ;
    assert_int_equal(errno, EPIPE);
    send_text(passage->app, "no");
    expect_text(passage->gateway, "no");
    (void)close(passage->app);
    expect_end(passage->gateway);
    (void)close(passage->gateway);
    (void)pthread_join(passage->thread, NULL);
}

static void *send_big(void *arg)
{
    static uint8_t block[65536];

    for (unsigned at = 0; at < BIG; at += sizeof(block)) {
        memset(block, (int)(at >> 16), sizeof(block));
        send_bytes(*(int *)arg, block, sizeof(block));
    }
    (void)shutdown(*(int *)arg, SHUT_WR);
    return NULL;
}

static void expect_big(int fd)
{
    static uint8_t block[65536];

    for (unsigned at = 0; at < BIG; at += sizeof(block)) {
        read_exactly(fd, block, sizeof(block));
        for (size_t i = 0; i < sizeof(block); i++)
            assert_int_equal(block[i], (uint8_t)(at >> 16));
    }
}

/* What was on its way when the gateway closed still arrives. */
static void test_rest_is_taken(void **state)
{
    struct passage *passage = *state;
    pthread_t down, up;

    assert_int_equal(pthread_create(&down, NULL, send_big, &passage->app), 0);
    expect_big(passage->gateway);
    (void)pthread_join(down, NULL);
    assert_int_equal(pthread_create(&up, NULL, send_big, &passage->gateway), 0);
    expect_big(passage->app);
    expect_end(passage->app);
    (void)pthread_join(up, NULL);
    (void)close(passage->gateway);
    (void)pthread_join(passage->thread, NULL);
    (void)close(passage->app);
}

static void test_rest_is_not_taken(void **state)
{
    struct passage *passage = *state;
    struct pollfd ready = {.fd = passage->gateway, .events = POLLOUT};
    static const char block[4096];

    while (poll(&ready, 1, 300) == 1)
        (void)send(passage->gateway, block, sizeof(block), MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)close(passage->gateway);
    /* The app never reads. */
    (void)pthread_join(passage->thread, NULL);
    (void)close(passage->app);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_each_way_ends_by_itself, set_up),
        cmocka_unit_test_setup(test_deaf_app, set_up),
        cmocka_unit_test_setup(test_rest_is_taken, set_up),
        cmocka_unit_test_setup(test_rest_is_not_taken, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
