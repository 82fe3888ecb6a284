/*
 * The table of requests: which need a greeting first, in which states of the sandbox each is
 * permitted, and what it does.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "sandboxd/policy.h"
#include "sandboxd/sandbox.h"
#include "sandboxd/wire.h"

/* Whether it could be sent. */
typedef bool requests_answer(const struct sandbox_asker *asker, const struct sd_reply *reply,
                             const int *fds, size_t fd_count);

/* Both must stay. */
void requests_init(const struct sd_policy *policy, requests_answer *answer);

/*
 * Acts on one message of `size` bytes. *greeted is the connection's. 0 = answered, now or later; a
 * message that cannot be parsed is -EPROTO: the connection must end.
 */
int requests_handle(uint64_t connection, const struct sd_request *request, size_t size,
                    bool *greeted);
