#include "tests/rpc/visitor.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE_S 20

int visitor_connect(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct timeval patience = {.tv_sec = PATIENCE_S};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
    return fd;
}

void visitor_send(int fd, const void *data, size_t size)
{
    const char *at = data;

    while (size > 0) {
        ssize_t sent = send(fd, at, size, MSG_NOSIGNAL);

        assert_true(sent > 0);
        at += sent;
        size -= (size_t)sent;
    }
}

void visitor_sendf(int fd, const char *format, ...)
{
    char text[4096];
    va_list args;

    va_start(args, format);
    int size = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    assert_true(size > 0 && (size_t)size < sizeof(text));
    visitor_send(fd, text, (size_t)size);
}

size_t visitor_read(int fd, void *ret_data, size_t size)
{
    size_t at = 0;

    while (at < size) {
        ssize_t got = recv(fd, (char *)ret_data + at, size - at, 0);

        if (got < 0 && errno == EAGAIN)
            fail_msg("nothing came for %d s", PATIENCE_S);
        if (got <= 0)
            break;
        at += (size_t)got;
    }
    return at;
}

static bool read_head(int fd, char *head)
{
    size_t at = 0;

    head[0] = '\0';
    while (at < VISITOR_HEAD_SIZE - 1 && visitor_read(fd, head + at, 1) == 1) {
        head[++at] = '\0';
        if (at >= 4 && memcmp(head + at - 4, "\r\n\r\n", 4) == 0)
            return true;
    }
    return false;
}

static void read_more(int fd, struct answer *answer, size_t size)
{
    answer->body = realloc(answer->body, answer->size + size + 1);
    if (!answer->body)
        abort();
    assert_int_equal(visitor_read(fd, answer->body + answer->size, size), size);
    answer->size += size;
    answer->body[answer->size] = '\0';
}

static void read_line(int fd, char line[64])
{
    size_t at = 0;

    while (at < 63 && visitor_read(fd, line + at, 1) == 1 && line[at] != '\n')
        at++;
    line[at] = '\0';
}

static void read_chunks(int fd, struct answer *answer)
{
    char line[64];
    size_t size;

    do {
        read_line(fd, line);
        size = strtoul(line, NULL, 16);
        read_more(fd, answer, size);
        read_line(fd, line);
    } while (size > 0);
}

static void read_to_end(int fd, struct answer *answer)
{
    char byte;

    while (visitor_read(fd, &byte, 1) == 1) {
        answer->body = realloc(answer->body, answer->size + 2);
        if (!answer->body)
            abort();
        answer->body[answer->size++] = byte;
        answer->body[answer->size] = '\0';
    }
}

struct answer visitor_answer(int fd)
{
    struct answer answer = {0};
    char value[1024];

    if (!read_head(fd, answer.head))
        return answer;
    answer.status = (unsigned)strtoul(answer.head + strlen("HTTP/1.1 "), NULL, 10);
    if (answer.status == 101 || answer.status == 204)
        return answer;
    if (answer_header(&answer, "Content-Length", value))
        read_more(fd, &answer, strtoul(value, NULL, 10));
    else if (answer_header(&answer, "Transfer-Encoding", value))
        read_chunks(fd, &answer);
    else
        read_to_end(fd, &answer);
    return answer;
}

void answer_done(struct answer *answer)
{
    free(answer->body);
    *answer = (struct answer){0};
}

const char *answer_header(const struct answer *answer, const char *name, char ret_value[1024])
{
    size_t size = strlen(name);

    for (const char *line = strstr(answer->head, "\r\n"); line && line[2] != '\r';
         line = strstr(line + 2, "\r\n")) {
        if (strncasecmp(line + 2, name, size) != 0 || line[2 + size] != ':')
            continue;
        const char *value = line + 3 + size;

        value += strspn(value, " ");
        (void)snprintf(ret_value, 1024, "%.*s", (int)strcspn(value, "\r"), value);
        return ret_value;
    }
    return NULL;
}
