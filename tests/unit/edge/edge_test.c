#include "server/edge/edge.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/util/clock.h"
#include "server/util/limits.h"

#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

/* What the hooks were given: the kind and the descriptor, through a pipe. */
struct given {
    char kind;
    int fd;
};

static struct {
    struct edge *edge;
    int given[2];
    char directory[64];
    char path[96];
} fixture;

static void give(char kind, int fd)
{
    struct given given = {kind, fd};

    assert_int_equal(write(fixture.given[1], &given, sizeof(given)), sizeof(given));
}

static void on_http2(void *arg, int fd)
{
    (void)arg;
    give('2', fd);
}

static void on_http1(void *arg, int fd)
{
    (void)arg;
    give('1', fd);
}

static void on_local(void *arg, int fd)
{
    (void)arg;
    give('l', fd);
}

static int start(uid_t operator_uid)
{
    struct edge_options options = {.listen = "127.0.0.1:0",
                                   .unix_socket = fixture.path,
                                   .operator_uid = operator_uid,
                                   .hooks = {on_http2, on_http1, on_local, NULL}};
    struct err err = {0};

    if (edge_new(&options, &fixture.edge, &err) < 0) {
        print_error("%s\n", err.message);
        return -1;
    }
    edge_start(fixture.edge);
    return 0;
}

static int setup(void **state)
{
    const char *base = getenv("TEST_TMPDIR");

    (void)state;
    /* A socket's name is short, Bazel's directories are not. */
    (void)snprintf(fixture.directory, sizeof(fixture.directory), "%s/edgeXXXXXX",
                   base && strlen(base) < 40 ? base : "/tmp");
    assert_non_null(mkdtemp(fixture.directory));
    (void)snprintf(fixture.path, sizeof(fixture.path), "%s/s", fixture.directory);
    assert_int_equal(pipe(fixture.given), 0);
    return start(geteuid());
}

static int teardown(void **state)
{
    (void)state;
    edge_free(fixture.edge);
    (void)close(fixture.given[0]);
    (void)close(fixture.given[1]);
    (void)rmdir(fixture.directory);
    return 0;
}

static int dial(void)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(edge_port(fixture.edge))};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&name, sizeof(name)), 0);
    return fd;
}

static int dial_local(void)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)snprintf(name.sun_path, sizeof(name.sun_path), "%s", fixture.path);
    assert_int_equal(connect(fd, (struct sockaddr *)&name, sizeof(name)), 0);
    return fd;
}

static bool readable(int fd, int ms)
{
    struct pollfd poller = {.fd = fd, .events = POLLIN};

    return poll(&poller, 1, ms) == 1;
}

/* Waits for a hand-over of that kind and returns the descriptor. */
static int expect_given(char kind)
{
    struct given given;

    assert_true(readable(fixture.given[0], 5000));
    assert_int_equal(read(fixture.given[0], &given, sizeof(given)), sizeof(given));
    assert_int_equal(given.kind, kind);
    return given.fd;
}

/* Whether the other side closes within that time. */
static bool ends(int fd, int ms)
{
    char byte;

    return readable(fd, ms) && read(fd, &byte, 1) <= 0;
}

static void put(int fd, const char *text)
{
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

/* All that was sent is still there for the new owner. */
static void expect_bytes(int fd, const char *text)
{
    char seen[256] = "";

    assert_true(readable(fd, 5000));
    assert_int_equal(read(fd, seen, sizeof(seen)), (ssize_t)strlen(text));
    assert_string_equal(seen, text);
}

static void expect_kind(const char *text, char kind)
{
    int fd = dial();

    put(fd, text);
    int given = expect_given(kind);

    assert_true(fcntl(given, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(given, F_GETFD) & FD_CLOEXEC);
    expect_bytes(given, text);
    (void)close(given);
    (void)close(fd);
}

static void test_tells_protocols_apart(void **state)
{
    (void)state;
    expect_kind(PREFACE, '2');
    expect_kind(PREFACE "more", '2');
    expect_kind("GET / HTTP/1.1\r\n", '1');
    expect_kind("PRI * HTTP/1.1\r\n", '1');
    expect_kind("POST", '1');
    expect_kind("\x16\x03\x01", '1');
}

static void test_slow_preface(void **state)
{
    int fd = dial();

    (void)state;
    for (const char *at = PREFACE; *at; at++) {
        assert_false(readable(fixture.given[0], 0));
        assert_int_equal(write(fd, at, 1), 1);
    }
    int given = expect_given('2');

    expect_bytes(given, PREFACE);
    (void)close(given);
    (void)close(fd);
}

static void test_leaves_after_half_a_preface(void **state)
{
    int fd = dial();

    (void)state;
    put(fd, "PRI *");
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    assert_true(ends(fd, 5000));
    (void)close(fd);
    fd = dial();
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    assert_true(ends(fd, 5000));
    (void)close(fd);
    assert_false(readable(fixture.given[0], 0));
}

static void test_silence_is_ended(void **state)
{
    uint64_t before = clock_monotonic_ms();
    int silent = dial(), half = dial();

    (void)state;
    put(half, "PRI * HT");
    assert_true(ends(silent, LIMIT_SNIFF_MS + 5000));
    assert_true(ends(half, 5000));
    assert_in_range(clock_monotonic_ms() - before, LIMIT_SNIFF_MS - 100, LIMIT_SNIFF_MS + 5000);
    (void)close(silent);
    (void)close(half);
}

static void test_local_socket(void **state)
{
    struct stat status;
    int fd = dial_local();

    (void)state;
    (void)close(expect_given('l'));
    (void)close(fd);
    assert_int_equal(stat(fixture.path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
}

static void test_second_server_takes_the_name_over(void **state)
{
    struct edge *first = fixture.edge;

    (void)state;
    fixture.edge = NULL;
    assert_int_equal(start(geteuid()), 0);
    int fd = dial_local();

    (void)close(expect_given('l'));
    (void)close(fd);
    edge_free(first);
}

/* Closed sockets make room, whoever closed them. */
static void test_cap_counts_open_sockets_only(void **state)
{
    struct rlimit limit = {.rlim_cur = 3 * LIMIT_CONNECTIONS_PER_PEER,
                           .rlim_max = 3 * LIMIT_CONNECTIONS_PER_PEER};
    static int mine[LIMIT_CONNECTIONS_PER_PEER], theirs[LIMIT_CONNECTIONS_PER_PEER];

    (void)state;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    for (unsigned i = 0; i < LIMIT_CONNECTIONS_PER_PEER; i++) {
        mine[i] = dial();
        put(mine[i], "G");
        theirs[i] = expect_given('1');
    }
    int extra = dial();

    assert_true(ends(extra, 5000));
    (void)close(extra);
    (void)close(theirs[0]);
    (void)close(mine[0]);
    /* What is gone is noticed when room is needed, at most every tenth of a second. */
    bool let_in = false;

    for (unsigned i = 0; i < 100 && !let_in; i++) {
        extra = dial();
        put(extra, "G");
        let_in = readable(fixture.given[0], 50);
        if (!let_in)
            (void)close(extra);
    }
    assert_true(let_in);
    (void)close(expect_given('1'));
    (void)close(extra);
    for (unsigned i = 1; i < LIMIT_CONNECTIONS_PER_PEER; i++) {
        (void)close(theirs[i]);
        (void)close(mine[i]);
    }
}

/* Out of descriptors, it refuses instead of spinning, and recovers. */
static void test_out_of_descriptors(void **state)
{
    struct rlimit before, none;
    int waiting = dial_local();
    int first = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(edge_port(fixture.edge))};

    (void)state;
    (void)close(expect_given('l'));
    (void)close(waiting);
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    /* The spare one is above, so no number is free below the limit once all below are taken. */
    none.rlim_cur = 3;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    assert_int_equal(connect(first, (struct sockaddr *)&name, sizeof(name)), 0);
    bool handed = readable(fixture.given[0], 300);

    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_false(handed);
    (void)close(first);
    int fd = dial();

    put(fd, "GET");
    (void)close(expect_given('1'));
    (void)close(fd);
}

static void test_stop_refuses(void **state)
{
    uint16_t port = edge_port(fixture.edge);
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(port)};
    int pending = dial();
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)state;
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    edge_stop(fixture.edge);
    assert_true(ends(pending, 5000));
    assert_int_equal(connect(fd, (struct sockaddr *)&name, sizeof(name)), -1);
    assert_int_equal(errno, ECONNREFUSED);
    assert_int_equal(access(fixture.path, F_OK), -1);
    (void)close(fd);
    (void)close(pending);
}

static void test_bad_addresses(void **state)
{
    static const char *const bad[] = {"",
                                      "7070",
                                      "localhost:7070",
                                      "127.0.0.1",
                                      "127.0.0.1:",
                                      "127.0.0.1:70000",
                                      "[::1]",
                                      "127.0.0.1:7070x",
                                      "[127.0.0.1]:0",
                                      "::1:7070",
                                      "127.0.0.1:-1"};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct edge_options options = {.listen = bad[i]};
        struct edge *edge = NULL;
        struct err err = {0};

        assert_int_equal(edge_new(&options, &edge, &err), -EINVAL);
        assert_null(edge);
    }
}

#define EDGE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EDGE_TEST(test_tells_protocols_apart),
        EDGE_TEST(test_slow_preface),
        EDGE_TEST(test_leaves_after_half_a_preface),
        EDGE_TEST(test_silence_is_ended),
        EDGE_TEST(test_local_socket),
        EDGE_TEST(test_second_server_takes_the_name_over),
        EDGE_TEST(test_out_of_descriptors),
        EDGE_TEST(test_stop_refuses),
        EDGE_TEST(test_cap_counts_open_sockets_only),
        cmocka_unit_test(test_bad_addresses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
