/*
 * A gRPC server for tests of clients: it answers calls, one after the other, from a script, and
 * remembers what each brought. It runs a thread of its own; results are read after it was stopped.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <protobuf-c/protobuf-c.h>

#define FAKE_CALLS_MAX 8
#define FAKE_TEXT_SIZE 256
#define FAKE_MESSAGES_MAX 8

struct fake_answer {
    const ProtobufCMessage *messages[FAKE_MESSAGES_MAX]; /* sent first; NULL ends them */
    bool hang;                                           /* then wait until the client cancels */
    int code;                                            /* then end with this status */
    const char *message;                                 /* NULL: "" */
    const void *details;                                 /* grpc-status-details-bin; NULL: none */
    size_t details_len;
};

struct fake_call {
    char path[FAKE_TEXT_SIZE];
    char authorization[FAKE_TEXT_SIZE];
    char project[FAKE_TEXT_SIZE];
    size_t message_count;
    unsigned char request[1024]; /* of the last message, cut */
    size_t request_len;
    bool cancelled;
};

struct fake_server;

/* Starts to listen; *ret_target is where, for crownest_client_options. Ends the test on failure. */
struct fake_server *fake_server_start(const struct fake_answer *answers, size_t count,
                                      const char **ret_target);

/*
 * Waits for the end of the calls that have begun and frees the server; ret_calls may be NULL. To be
 * called when the client has had all its answers.
 */
void fake_server_stop(struct fake_server *server, struct fake_call ret_calls[FAKE_CALLS_MAX]);
