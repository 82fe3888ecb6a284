/* Whoever closes what came out of a sandbox waits for nobody there. */
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/util/close.h"
#include "server/util/fdpass.h"

#define LINGER_S 3600 /* how long a test lasts that fails */

/* A connection whose peer takes nothing, and which lingers for it. */
static int lingering(int *ret_peer)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct linger linger = {.l_onoff = 1, .l_linger = LINGER_S};
    socklen_t size = sizeof(address);
    static const char block[65536];
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, size), 0);
    *ret_peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(*ret_peer >= 0);
    (void)close(listener);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
    while (send(fd, block, sizeof(block), MSG_DONTWAIT) > 0)
        ;
    return fd;
}

static bool is_open(int fd)
{
    return dup2(fd, fd) == fd;
}

static unsigned count_open(void)
{
    unsigned count = 0;

    for (int fd = 0; fd < 256; fd++)
        count += is_open(fd);
    return count;
}

static void test_lingering_socket(void **state)
{
    int peer;
    int fd = lingering(&peer);

    (void)state;
    errno = ENOTTY;
    close_promptly(fd);
    assert_int_equal(errno, ENOTTY);
    assert_false(is_open(fd));
    (void)close(peer);
}

/* The messages that wait in a socket are closed with it, and what they carry with them. */
static void test_lingering_in_flight(void **state)
{
    int pair[2], peer;
    int fd = lingering(&peer);

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(fdpass_send(pair[1], "x", 1, &fd, 1), 0);
    (void)close(fd);
    close_promptly(pair[0]);
    (void)close(pair[1]);
    (void)close(peer);
}

/* More than are taken: what is left over is closed too. */
static void test_too_many_received(void **state)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE((FDPASS_MAX + 1) * sizeof(int))];
    } control = {{0}};
    struct iovec part = {.iov_base = (char[]){'x'}, .iov_len = 1};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.space,
                             .msg_controllen = sizeof(control.space)};
    int fds[FDPASS_MAX + 1], got[FDPASS_MAX], pair[2], peer;
    unsigned count = 0;
    char byte;

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    for (int i = 0; i < FDPASS_MAX; i++)
        fds[i] = pair[1];
    fds[FDPASS_MAX] = lingering(&peer);
    control.header = (struct cmsghdr){
        .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(fds))};
    memcpy(CMSG_DATA(&control.header), fds, sizeof(fds));
    assert_int_equal(sendmsg(pair[1], &message, 0), 1);
    (void)close(fds[FDPASS_MAX]);
    unsigned before = count_open();

    assert_int_equal(fdpass_receive(pair[0], &byte, 1, got, &count), -EBADMSG);
    assert_int_equal(count_open(), before);
    (void)close(pair[0]);
    (void)close(pair[1]);
    (void)close(peer);
}

/* Other kinds are closed as ever. */
static void test_other_kinds(void **state)
{
    int fds[2];

    (void)state;
    assert_int_equal(pipe(fds), 0);
    close_promptly(fds[0]);
    close_promptly(fds[1]);
    assert_false(is_open(fds[0]));
    assert_false(is_open(fds[1]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lingering_socket),
        cmocka_unit_test(test_lingering_in_flight),
        cmocka_unit_test(test_too_many_received),
        cmocka_unit_test(test_other_kinds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
