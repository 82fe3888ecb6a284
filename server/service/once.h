/* The shape of a change that is made once, however often its request is sent. */
#pragma once

#include "server/service/service.h"

/* Makes the change, in a batch to which answer_keep has added the response. */
typedef struct status once_fn(struct rpc_call *call, const struct answer *answer,
                              const void *request, void *response);

/* Has act make the change, or fills the response with what was answered before. */
struct status service_once(struct rpc_call *call, const char *request_id, const void *request,
                           void *response, once_fn *act);
