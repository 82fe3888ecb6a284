/*
 * The HTTP/1.1 side of the TCP port: previews. Takes connections over from the edge, finds the
 * preview that the Host header names, checks its token before anything else, and passes requests,
 * responses and WebSockets through to a socket made inside the sandbox. Threads of its own.
 */
#pragma once

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

/* What the gateway asks of the rest; called from its threads, connect may block. */
struct gateway_hooks {
    /* ret_token_hash: SHA-256 of the preview's token; filled unless GATEWAY_MISSING. */
    enum gateway_lookup (*lookup)(void *arg, const char *preview_id,
                                  uint8_t ret_token_hash[GATEWAY_HASH_SIZE]);
    /* A connected socket to the preview's port, made inside its sandbox, or a negative errno. */
    int (*connect)(void *arg, const char *preview_id);
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
