/* What call.c needs of a client. */
#pragma once

#include <stddef.h>

#include <grpc/grpc.h>

#include "bindings/c/client.h"

struct crownest_client {
    grpc_channel *channel;
    char *target;
    grpc_metadata metadata[2]; /* sent with every call; the slices are the client's */
    size_t metadata_count;
};
