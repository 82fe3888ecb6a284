#include "tests/unit/gateway/harness.h"

#include <errno.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct app_start {
    struct harness *harness;
    int fd;
};

static enum gateway_lookup lookup(void *arg, const char *preview_id,
                                  struct gateway_preview *ret_preview)
{
    struct harness *harness = arg;

    if (strcmp(preview_id, ID) != 0)
        return GATEWAY_MISSING;
    (void)EVP_Digest(TOKEN, strlen(TOKEN), ret_preview->token_hash, NULL, EVP_sha256(), NULL);
    (void)snprintf(ret_preview->sandbox_id, sizeof(ret_preview->sandbox_id), "%s", SANDBOX_ID);
    if (atomic_load(&harness->rotated))
        ret_preview->token_hash[0] ^= 1;
    return (enum gateway_lookup)atomic_load(&harness->lookup);
}

static void *run_app(void *arg)
{
    struct app_start start = *(struct app_start *)arg;

    free(arg);
    start.harness->app(start.harness, start.fd);
    (void)close(start.fd);
    return NULL;
}

/* As nest-init makes it, which may keep a duplicate, and so does the harness. With the least of
 * buffers, so that an app which takes nothing is soon felt. */
static int tcp_pair(struct harness *harness, int ret_pair[2])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int least = 1;

    ret_pair[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &least, sizeof(least));
    (void)setsockopt(ret_pair[0], SOL_SOCKET, SO_SNDBUF, &least, sizeof(least));
    if (listen(listener, 1) != 0 || getsockname(listener, (void *)&address, &size) != 0 ||
        connect(ret_pair[0], (void *)&address, size) != 0)
        abort();
    ret_pair[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    (void)close(listener);
    atomic_store(&harness->held, dup(ret_pair[0]));
    return 0;
}

static int connect_app(void *arg, const char *preview_id)
{
    struct harness *harness = arg;
    int error = atomic_load(&harness->connect_error);
    int pair[2];

    (void)atomic_fetch_add(&harness->connects, 1);
    if (strcmp(preview_id, ID) != 0)
        return -ENOENT;
    if (error)
        return error;
    if (harness->tcp ? tcp_pair(harness, pair)
                     : socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
        return -errno;
    struct app_start *start = malloc(sizeof(*start));

    *start = (struct app_start){.harness = harness, .fd = pair[1]};
    (void)pthread_mutex_lock(&harness->mutex);
    if (harness->app_count == HARNESS_APPS ||
        pthread_create(&harness->apps[harness->app_count++], NULL, run_app, start) != 0)
        abort();
    (void)pthread_mutex_unlock(&harness->mutex);
    return pair[0];
}

void harness_start(struct harness *harness, const struct gateway_limits *limits,
                   void (*app)(struct harness *harness, int fd))
{
    struct gateway_options options = {
        .domain = "localhost",
        .hooks = {.lookup = lookup, .connect = connect_app, .arg = harness},
    };
    struct err err;

    *harness = (struct harness){.app = app};
    atomic_store(&harness->lookup, GATEWAY_OPEN);
    (void)pthread_mutex_init(&harness->mutex, NULL);
    assert_int_equal(gateway_new_limited(&options, limits, &harness->gateway, &err), 0);
}

void harness_stop(struct harness *harness)
{
    gateway_free(harness->gateway);
    for (unsigned i = 0; i < harness->app_count; i++)
        (void)pthread_join(harness->apps[i], NULL);
    (void)pthread_mutex_destroy(&harness->mutex);
    free(harness->seen);
}

int visit(struct harness *harness)
{
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    gateway_adopt(harness->gateway, pair[0]);
    return pair[1];
}

void send_bytes(int fd, const void *data, size_t size)
{
    const uint8_t *next = data;

    while (size > 0) {
        ssize_t sent = send(fd, next, size, MSG_NOSIGNAL);

        if (sent < 0)
            return; /* the peer has closed, which the reader will see */
        next += sent;
        size -= (size_t)sent;
    }
}

void send_text(int fd, const char *text)
{
    send_bytes(fd, text, strlen(text));
}

/* One more byte of the peer; false when it has closed. */
static bool read_byte(int fd, char *ret_byte)
{
    struct pollfd ready = {.fd = fd, .events = POLLIN};

    if (poll(&ready, 1, PATIENCE_MS) != 1) {
        (void)fprintf(stderr, "nothing came for %d ms\n", PATIENCE_MS);
        abort();
    }
    return read(fd, ret_byte, 1) == 1;
}

static char *collect(int fd, const char *until)
{
    size_t size = 0, capacity = 256;
    char *text = malloc(capacity);

    text[0] = 0;
    while (!until || size < strlen(until) || strcmp(text + size - strlen(until), until) != 0) {
        if (size + 2 > capacity)
            text = realloc(text, capacity *= 2);
        if (!read_byte(fd, text + size))
            break;
        text[++size] = 0;
    }
    return text;
}

char *read_until(int fd, const char *text)
{
    return collect(fd, text);
}

char *read_all(int fd)
{
    return collect(fd, NULL);
}

void read_exactly(int fd, void *ret_data, size_t size)
{
    uint8_t *next = ret_data;

    while (size > 0) {
        ssize_t got = read(fd, next, size);

        if (got <= 0)
            abort();
        next += got;
        size -= (size_t)got;
    }
}

char *ask(struct harness *harness, const char *request)
{
    int fd = visit(harness);

    send_text(fd, request);
    char *answer = read_all(fd);

    (void)close(fd);
    return answer;
}

void expect_status(char *answer, const char *status)
{
    char line[64];

    (void)snprintf(line, sizeof(line), "HTTP/1.1 %s ", status);
    if (strncmp(answer, line, strlen(line)) != 0)
        fail_msg("expected %s, got: %s", status, answer);
    free(answer);
}

void assert_contains(const char *text, const char *needle)
{
    if (!strstr(text, needle))
        fail_msg("\"%s\" is missing in: %s", needle, text);
}

void assert_lacks(const char *text, const char *needle)
{
    if (strstr(text, needle))
        fail_msg("\"%s\" is in: %s", needle, text);
}

static char *copy_seen(struct harness *harness)
{
    (void)pthread_mutex_lock(&harness->mutex);
    char *copy = strdup(harness->seen ? harness->seen : "");

    (void)pthread_mutex_unlock(&harness->mutex);
    return copy;
}

void seen_contains(struct harness *harness, const char *needle)
{
    char *seen = copy_seen(harness);

    assert_contains(seen, needle);
    free(seen);
}

void seen_lacks(struct harness *harness, const char *needle)
{
    char *seen = copy_seen(harness);

    assert_lacks(seen, needle);
    free(seen);
}

void app_read_head(struct harness *harness, int fd)
{
    char *head = read_until(fd, "\r\n\r\n");

    (void)pthread_mutex_lock(&harness->mutex);
    free(harness->seen);
    harness->seen = head;
    (void)pthread_mutex_unlock(&harness->mutex);
}

void app_hello(struct harness *harness, int fd)
{
    app_read_head(harness, fd);
    send_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
}
