/*
 * What a request's head asks for, after every check that needs nothing but the head itself.
 * Pure; points into the message, which must outlive it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "server/gateway/host.h"
#include "server/gateway/message.h"

struct request {
    const struct message *message;
    const char *method;
    bool is_head;
    bool is_safe;    /* GET, HEAD, OPTIONS */
    bool http10;     /* no chunks and no second request on this connection */
    bool keep_alive; /* the visitor may send another */
    bool websocket;
    bool expects_continue;
    bool has_body;
    uint64_t length;     /* of the body, unless it is chunked */
    struct bytes target; /* origin form, or "*" */
    struct bytes host;   /* as the visitor wrote it */
    enum host_kind host_kind;
    char preview_id[GATEWAY_ID_SIZE];
};

/* 0, or the HTTP status that refuses it. */
unsigned request_check(const struct message *message, const char *domain,
                       struct request *ret_request);
