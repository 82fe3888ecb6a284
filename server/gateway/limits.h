/* The bounds of one gateway. Durations in milliseconds, sizes in bytes. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "server/gateway/gateway.h"

#define GATEWAY_HEAD_BYTES (32U << 10)    /* start line and header fields of a message */
#define GATEWAY_TARGET_BYTES (8U << 10)   /* request target */
#define GATEWAY_FIELDS 100                /* header fields of a message */
#define GATEWAY_CONNECTION_BYTES 512      /* values of the Connection fields of a message */
#define GATEWAY_EXTRA_BYTES (32U << 10)   /* chunk extensions and trailers of a message */
#define GATEWAY_INTERIM_ANSWERS 16        /* 1xx answers before the final one */
#define GATEWAY_INPUT_BYTES (64U << 10)   /* read and not passed on; beyond it no more is read */
#define GATEWAY_OUTPUT_BYTES (128U << 10) /* beyond this nothing more is read for that socket */
#define GATEWAY_PIECE_BYTES 4096          /* smaller ones are copied behind what waits already */
#define GATEWAY_PASSAGE_BYTES (16U << 10) /* on their way to the app, and as many from it */
#define GATEWAY_LINGER_BYTES (64U << 20)  /* thrown away after an early answer */

struct gateway_limits {
    uint32_t connections;
    uint32_t passages;             /* connections into sandboxes, each with a thread */
    uint32_t passages_per_sandbox; /* so that one sandbox cannot have them all */
    uint32_t connects_per_sandbox; /* being made at one time */
    uint32_t head_ms;              /* from the first byte of a request to the end of its head */
    uint32_t keep_alive_ms;        /* between two requests */
    uint32_t body_ms;              /* without a byte, while the visitor owes some */
    uint32_t connect_ms;           /* for the hook to return a socket */
    uint32_t answer_ms;            /* from the end of a request to the head of its response */
    uint32_t stream_ms;            /* without a byte within a response */
    uint32_t tunnel_ms;            /* without a byte either way in a WebSocket */
    uint32_t linger_ms;            /* for a peer to take the rest when the other one is gone */
    uint32_t recheck_ms;           /* how often open exchanges are looked up again */
};

extern const struct gateway_limits gateway_default_limits;

/* gateway_new with other bounds; limits are copied. */
int gateway_new_limited(const struct gateway_options *options, const struct gateway_limits *limits,
                        struct gateway **ret_gateway, struct err *err);
