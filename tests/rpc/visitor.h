/*
 * A visitor of previews: HTTP/1.1 over a socket of its own, byte by byte, so that what goes over
 * the wire is what the test says. Fails the test when nothing comes within its patience.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define VISITOR_HEAD_SIZE 16384

struct answer {
    unsigned status; /* 0: the connection was closed instead */
    char head[VISITOR_HEAD_SIZE];
    char *body; /* NUL-terminated; freed by answer_done */
    size_t size;
};

/* A connection to 127.0.0.1. */
int visitor_connect(uint16_t port);
void visitor_send(int fd, const void *data, size_t size);
void visitor_sendf(int fd, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Reads exactly so much; returns what came before the connection was closed. */
size_t visitor_read(int fd, void *ret_data, size_t size);
/* Reads one answer: by its length, by chunks, or up to the end of the connection. */
struct answer visitor_answer(int fd);
void answer_done(struct answer *answer);
/* The value of a header, NUL-terminated in `ret_value`; NULL when it is not there. */
const char *answer_header(const struct answer *answer, const char *name, char ret_value[1024]);
