/*
 * Calls by path, without types: what the generated functions are made of. Not for applications.
 *
 * A call's completion queue is its own and is plucked by the calling thread, so calls share
 * nothing but the channel.
 */
#pragma once

#include "bindings/c/client.h"

struct crownest_stream;

/* Sends one message and waits for one. *ret_response is freed by the caller with protobuf-c. */
int crownest_call_unary(struct crownest_client *client, const char *path,
                        const ProtobufCMessage *request,
                        const ProtobufCMessageDescriptor *response_type,
                        const struct crownest_call_options *options,
                        ProtobufCMessage **ret_response, struct crownest_error *ret_error);

/*
 * Starts a streaming call. With a request it is sent and the client's side closed: read with
 * crownest_stream_next. Without one (NULL) it is the client that streams: crownest_stream_send,
 * then crownest_stream_finish. Does not wait for the server.
 */
int crownest_stream_open(struct crownest_client *client, const char *path,
                         const ProtobufCMessage *request,
                         const struct crownest_call_options *options,
                         struct crownest_stream **ret_stream, struct crownest_error *ret_error);

/* Waits for a message: 1 and *ret_message, 0 at the end of a stream that ended well, or -errno. */
int crownest_stream_next(struct crownest_stream *stream, const ProtobufCMessageDescriptor *type,
                         ProtobufCMessage **ret_message, struct crownest_error *ret_error);

/* Sends a message and waits until the connection has taken it. */
int crownest_stream_send(struct crownest_stream *stream, const ProtobufCMessage *message,
                         struct crownest_error *ret_error);

/* Closes the client's side and waits for the answer. */
int crownest_stream_finish(struct crownest_stream *stream,
                           const ProtobufCMessageDescriptor *response_type,
                           ProtobufCMessage **ret_response, struct crownest_error *ret_error);

/* Ends the call from any thread; a waiting function returns with code CANCELLED. */
void crownest_stream_cancel(struct crownest_stream *stream);

/* Cancels what still runs and frees the stream. NULL is fine. */
void crownest_stream_free(struct crownest_stream *stream);
