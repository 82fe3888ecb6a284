/*
 * Where connections come in: one TCP port and one unix socket, accepted here so that caps and
 * time-outs hold before any protocol code sees a byte. A TCP connection that begins with the HTTP/2
 * preface goes to gRPC, any other to the gateway; the unix socket speaks gRPC only, and only to
 * operators. One thread of its own.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "server/util/err.h"

struct edge;

/* Each takes the descriptor (non-blocking, CLOEXEC). Called from the edge's thread; must not block.
 */
struct edge_hooks {
    void (*http2)(void *arg, int fd);
    void (*http1)(void *arg, int fd);
    void (*local)(void *arg, int fd);
    void *arg;
};

struct edge_options {
    const char *listen;      /* "127.0.0.1:7070", "[::1]:7070"; port 0: the kernel's choice */
    const char *unix_socket; /* path; replaced if it is there, mode 0600; NULL: none */
    uid_t operator_uid;      /* peers of the unix socket besides root */
    struct edge_hooks hooks;
};

/* Listens; serves from edge_start on. */
int edge_new(const struct edge_options *options, struct edge **ret_edge, struct err *err);
void edge_start(struct edge *edge);
/* The TCP port that is listened on. */
uint16_t edge_port(const struct edge *edge);
/* Stops accepting; connections that were handed over stay with those who have them. */
void edge_stop(struct edge *edge);
void edge_free(struct edge *edge);
