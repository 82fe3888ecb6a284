/*
 * Reads how a call ended from its status and the `grpc-status-details-bin` metadata. Pure functions
 * over bytes; the sender is not trusted.
 */
#pragma once

#include <stddef.h>

#include "bindings/c/client.h"

/*
 * Fills an error from a status: code and message as gRPC gave them (message needs no end mark), and
 * a packed google.rpc.Status, or details_len 0. Details that cannot be read are ignored: the code
 * and the message still stand.
 */
void crownest_error_read(int code, const void *message, size_t message_len, const void *details,
                         size_t details_len, struct crownest_error *ret_error);

/* Fills an error that no server sent. Returns -err, which is a positive errno. */
int crownest_error_local(struct crownest_error *ret_error, int err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
