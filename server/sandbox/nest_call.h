/* Inside of nest.h: one request under way. For nest*.c only. */
#pragma once

#include "server/sandbox/nest.h"

/* Lives with whoever waits for it. */
struct nest_call {
    struct nest_call *next;
    uint64_t serial;
    uint32_t op;
    bool done;
    int result;
    struct nest_reply reply;
    int fds[FDPASS_MAX];
    unsigned fd_count;
};

/* Fills the request's path. Returns 0 or -ENAMETOOLONG. */
int nest_call_path(struct nest_request *request, const char *path);
/* Sends a request and joins those that wait; after a success nest_call_wait must follow. */
int nest_call_send(struct nest *nest, struct nest_request *request, size_t size, const int *fds,
                   unsigned fd_count, struct nest_call *call);
/* Waits, leaves, and checks that a success brought as many descriptors as it should. */
#define NEST_CALL_ANY_FDS UINT32_MAX
int nest_call_wait(struct nest *nest, struct nest_call *call, unsigned timeout_ms,
                   unsigned fd_count);
