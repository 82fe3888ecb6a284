/*
 * The one place that turns a struct status into what goes on the wire: a gRPC status and a
 * google.rpc.Status in `grpc-status-details-bin`. Threads: any.
 */
#pragma once

#include <grpc/grpc.h>
#include <grpc/slice.h>

#include "server/util/status.h"

struct status_wire {
    grpc_status_code code;
    grpc_slice message;
    grpc_slice details; /* a packed google.rpc.Status; empty for OK */
};

void status_wire_make(const struct status *status, const char *request_id,
                      struct status_wire *ret_wire);
void status_wire_done(struct status_wire *wire);
