/*
 * The HTTP/1.1 side of the TCP port: previews. Takes connections over from the edge, finds the
 * preview that the Host header names, checks its token before anything else, and passes requests,
 * responses and WebSockets through to a socket made inside the sandbox. Threads of its own.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "server/util/err.h"

struct gateway;

#define GATEWAY_HASH_SIZE 32
#define GATEWAY_ID_SIZE 32

enum gateway_lookup {
    GATEWAY_MISSING, /* 404: never was, or was deleted */
    GATEWAY_ENDED,   /* 410: its sandbox has ended */
    GATEWAY_OPEN,
};

struct gateway_preview {
    uint8_t token_hash[GATEWAY_HASH_SIZE]; /* SHA-256 of its token */
    char sandbox_id[GATEWAY_ID_SIZE];      /* out of whose share its connections come */
};

enum gateway_visit {
    GATEWAY_VISIT_URL,     /* a good token in the URL: a new browser, which has a cookie now */
    GATEWAY_VISIT_HEADER,  /* a good token in a header: once for each connection */
    GATEWAY_VISIT_REFUSED, /* no token, or a wrong one */
};

/* What the gateway asks of the rest; called from its threads, connect may block. */
struct gateway_hooks {
    /* ret_preview is filled unless GATEWAY_MISSING. */
    enum gateway_lookup (*lookup)(void *arg, const char *preview_id,
                                  struct gateway_preview *ret_preview);
    /* A connected socket to the preview's port, made inside its sandbox, or a negative errno. Who
     * in the sandbox shares it does not matter. */
    int (*connect)(void *arg, const char *preview_id);
    /* Somebody came to a preview; may be NULL, must not block. Not told for each use of a cookie.
     */
    void (*visited)(void *arg, const char *preview_id, enum gateway_visit visit);
    /* So many bytes more were sent by previews of a sandbox; NULL is fine. Must not block. */
    void (*sent)(void *arg, const char *sandbox_id, size_t bytes);
    void *arg;
};

struct gateway_options {
    /* Previews are at <id with '-' for '_'>.<domain>; such as "localhost". */
    const char *domain;
    struct gateway_hooks hooks;
};

int gateway_new(const struct gateway_options *options, struct gateway **ret_gateway,
                struct err *err);
/* Takes a connected socket, whose first bytes are unread. Closes it when there are too many. */
void gateway_adopt(struct gateway *gateway, int fd);
/* Ends every connection and the threads. */
void gateway_free(struct gateway *gateway);
