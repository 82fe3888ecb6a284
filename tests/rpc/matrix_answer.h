/*
 * What a caller sees of an answer, to the last byte but for the id of the call itself. Callers are
 * connections of their own, which say who they are in every call.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "server/rpc/method_table.h"
#include "tests/unit/rpc/client.h"

#define ANSWER_REASON_SIZE 64

struct answer {
    int code; /* a grpc_status_code; of a stream that had something to say, OK */
    char reason[ANSWER_REASON_SIZE];
    size_t size;
    uint8_t *bytes; /* code, message, details and the first response */
};

struct caller {
    struct client client;
    char authorization[160];
};

/*
 * Over TCP, or with port 0 over the unix socket. secret, project: NULL for not sent; project is
 * referred to.
 */
void caller_init(struct caller *caller, const char *socket_path, uint16_t port, const char *secret,
                 const char *project);
void caller_done(struct caller *caller);

/* Calls the method with the request, whatever its kind, and takes the first thing that comes. */
struct answer answer_of(struct caller *caller, const struct rpc_method *method,
                        const ProtobufCMessage *request);
void answer_done(struct answer *answer);
bool answers_equal(const struct answer *a, const struct answer *b);
/* Whether the text occurs anywhere in it. */
bool answer_holds(const struct answer *answer, const char *text);
