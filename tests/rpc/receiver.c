#include "tests/rpc/receiver.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <poll.h>

#define PATIENCE_S 20

static const struct timeval patience = {.tv_sec = PATIENCE_S};

void receiver_open(struct receiver *receiver)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof(address);

    receiver->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(receiver->fd >= 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(receiver->fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(receiver->fd, 16), 0);
    assert_int_equal(getsockname(receiver->fd, (struct sockaddr *)&address, &size), 0);
    (void)setsockopt(receiver->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    (void)snprintf(receiver->url, sizeof(receiver->url), "http://127.0.0.1:%u/hook?x=1",
                   (unsigned)ntohs(address.sin_port));
}

void receiver_close(struct receiver *receiver)
{
    (void)close(receiver->fd);
}

bool receiver_is_idle(const struct receiver *receiver)
{
    struct pollfd waiting = {.fd = receiver->fd, .events = POLLIN};

    return poll(&waiting, 1, 0) == 0;
}

void receiver_take(const struct receiver *receiver, struct delivery *ret_delivery)
{
    int fd = accept4(receiver->fd, NULL, NULL, SOCK_CLOEXEC);

    if (fd < 0)
        fail_msg("nothing was delivered for %d s", PATIENCE_S);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    ret_delivery->fd = fd;
    /* A request with a length is read as an answer is. */
    ret_delivery->request = visitor_answer(fd);
}

void delivery_drop(struct delivery *delivery)
{
    (void)close(delivery->fd);
    answer_done(&delivery->request);
}

void delivery_answer(struct delivery *delivery, const char *status)
{
    visitor_sendf(delivery->fd, "HTTP/1.1 %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                  status);
    delivery_drop(delivery);
}

void delivery_await_hangup(struct delivery *delivery)
{
    /* Less than the service's own patience, which would end it, too. */
    const struct timeval soon = {.tv_sec = 8};
    char byte;

    (void)setsockopt(delivery->fd, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof(soon));
    assert_int_equal(visitor_read(delivery->fd, &byte, 1), 0);
    delivery_drop(delivery);
}

void assert_delivery_signed(const struct delivery *delivery, const char *secret)
{
    char value[1024];
    uint8_t mac[32];
    unsigned mac_size = sizeof(mac);
    char expected[96];

    assert_non_null(answer_header(&delivery->request, "X-CrowNest-Signature", value));
    assert_int_equal(strncmp(value, "t=", 2), 0);
    time_t seconds = strtol(value + 2, NULL, 10);
    char *text = malloc(delivery->request.size + 32);

    assert_non_null(text);
    int size = snprintf(text, 32, "%ld.", (long)seconds);

    memcpy(text + size, delivery->request.body, delivery->request.size);
    (void)HMAC(EVP_sha256(), secret, (int)strlen(secret), (uint8_t *)text,
               (size_t)size + delivery->request.size, mac, &mac_size);
    free(text);
    size = snprintf(expected, sizeof(expected), "t=%ld,v1=", (long)seconds);
    for (size_t i = 0; i < sizeof(mac); i++)
        size += snprintf(expected + size, sizeof(expected) - (size_t)size, "%02x", mac[i]);
    assert_string_equal(value, expected);
    assert_in_range(seconds, time(NULL) - 60, time(NULL) + 1);
}
