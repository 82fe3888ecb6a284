/* A gRPC client for tests: one call at a time, each step waited for. Failing steps end the test. */
#pragma once

#include <grpc/grpc.h>
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>

#include "private/google_rpc.pb-c.h"

struct client {
    grpc_completion_queue *cq;
    grpc_channel *channel;
    const char *authorization; /* sent with each call, as the next; NULL: not */
    const char *project;
};

/* Takes a connected, non-blocking socket. */
void client_init(struct client *client, int fd);
void client_done(struct client *client);

struct client_call {
    struct client *client;
    grpc_call *call;
    grpc_metadata_array initial, trailing;
    grpc_status_code code;
    grpc_slice message;
    bool started, ended;
};

void client_start(struct client *client, struct client_call *call, const char *path);
void client_start_within(struct client *client, struct client_call *call, const char *path,
                         int deadline_ms);
void client_send(struct client_call *call, const void *data, size_t size);
void client_send_message(struct client_call *call, const ProtobufCMessage *message);
void client_close(struct client_call *call); /* half */
/* Ends the call before its time. */
void client_cancel(struct client_call *call);
/* The next message, to be destroyed, or NULL at the end. */
grpc_byte_buffer *client_receive(struct client_call *call);
void *client_receive_message(struct client_call *call, const ProtobufCMessageDescriptor *type);
/* Reads what is left and waits for the status; call->code. */
void client_finish(struct client_call *call);
void client_call_done(struct client_call *call);

/* Sends one message, takes one, waits for the status. The response is NULL on errors. */
void *client_unary(struct client *client, struct client_call *call, const char *path,
                   const ProtobufCMessage *request, const ProtobufCMessageDescriptor *response);

/* Of a finished call's grpc-status-details-bin; to be freed. NULL if it sent none. */
Google__Rpc__Status *client_details(const struct client_call *call);
Google__Rpc__ErrorInfo *client_error_info(const struct client_call *call);
/* Asserts code, reason and (when not NULL) field. */
void client_expect(const struct client_call *call, grpc_status_code code, const char *reason,
                   const char *field);
