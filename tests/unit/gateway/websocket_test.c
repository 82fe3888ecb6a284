/* WebSockets: the handshake, then bytes both ways. */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/gateway/harness.h"

#define HANDSHAKE                                                                                  \
    "GET /ws HTTP/1.1\r\n" WITH_TOKEN "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"  \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
#define ACCEPTED                                                                                   \
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"            \
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
#define BIG (4U << 20)

static struct harness harness;
static char last_words[16];

static int set_up(void **state)
{
    struct gateway_limits limits = gateway_default_limits;

    (void)state;
    limits.linger_ms = 200;
    harness_start(&harness, &limits, app_hello);
    return 0;
}

static void app_echo(struct harness *h, int fd)
{
    static char block[65536];
    ssize_t size;

    app_read_head(h, fd);
    send_text(fd, ACCEPTED "first");
    while ((size = read(fd, block, sizeof(block))) > 0) {
        (void)memcpy(last_words, block + (size > 9 ? size - 9 : 0), size > 9 ? 9 : (size_t)size);
        send_bytes(fd, block, (size_t)size);
    }
}

static void test_echo(void **state)
{
    (void)state;
    harness.app = app_echo;
    int fd = visit(&harness);

    /* What follows the handshake at once is for the app too. */
    send_text(fd, HANDSHAKE "early");
    char *answer = read_until(fd, "firstearly");

    assert_contains(answer, "HTTP/1.1 101 Switching Protocols\r\n");
    assert_contains(answer, "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
    assert_contains(answer, "\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n");
    free(answer);
    seen_contains(&harness, "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n");
    seen_contains(&harness, "\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n");
    seen_lacks(&harness, TOKEN);
    for (int i = 0; i < 100; i++) {
        send_bytes(fd, "\x81\0\r\n\r\nGET", 9);
        char echo[9];

        read_exactly(fd, echo, sizeof(echo));
        assert_memory_equal(echo, "\x81\0\r\n\r\nGET", 9);
    }
    send_text(fd, "last word");
    (void)close(fd);
    /* The app ends when it has read to the end, while the gateway still runs. */
    (void)pthread_join(harness.apps[--harness.app_count], NULL);
    harness_stop(&harness);
    assert_memory_equal(last_words, "last word", 9);
}

struct flood {
    int fd;
};

static void *send_flood(void *arg)
{
    const struct flood *flood = arg;
    static uint8_t block[65536];

    for (unsigned at = 0; at < BIG; at += sizeof(block)) {
        memset(block, (int)(at >> 16), sizeof(block));
        send_bytes(flood->fd, block, sizeof(block));
    }
    return NULL;
}

static void test_big_echo(void **state)
{
    static uint8_t block[65536];
    pthread_t sender;

    (void)state;
    harness.app = app_echo;
    struct flood flood = {.fd = visit(&harness)};

    send_text(flood.fd, HANDSHAKE);
    free(read_until(flood.fd, "first"));
    assert_int_equal(pthread_create(&sender, NULL, send_flood, &flood), 0);
    for (unsigned at = 0; at < BIG; at += sizeof(block)) {
        read_exactly(flood.fd, block, sizeof(block));
        assert_int_equal(block[0], (uint8_t)(at >> 16));
        assert_int_equal(block[sizeof(block) - 1], (uint8_t)(at >> 16));
    }
    (void)pthread_join(sender, NULL);
    (void)close(flood.fd);
    harness_stop(&harness);
}

static void app_closes(struct harness *h, int fd)
{
    app_read_head(h, fd);
    send_text(fd, ACCEPTED "bye");
}

static void test_app_closes(void **state)
{
    (void)state;
    harness.app = app_closes;
    char *answer = ask(&harness, HANDSHAKE);

    assert_string_equal(answer + strlen(answer) - 3, "bye");
    free(answer);
    harness_stop(&harness);
}

/* A refused handshake is a plain answer, and what the visitor sends on is not a request. */
static void test_refused_handshake(void **state)
{
    (void)state;
    char *answer = ask(&harness, HANDSHAKE "GET / HTTP/1.1\r\n" WITH_TOKEN "\r\n");

    assert_contains(answer, "\r\nConnection: close\r\n");
    expect_status(answer, "200");
    assert_int_equal(atomic_load(&harness.connects), 1);
    harness_stop(&harness);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_echo, set_up),
        cmocka_unit_test_setup(test_big_echo, set_up),
        cmocka_unit_test_setup(test_app_closes, set_up),
        cmocka_unit_test_setup(test_refused_handshake, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
