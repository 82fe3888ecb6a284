#include "server/service/once.h"

struct status service_once(struct rpc_call *call, const char *request_id, const void *request,
                           void *response, once_fn *act)
{
    struct answer answer;
    struct status status = answer_begin(service_of(call)->answers, call, request_id, &answer);

    if (!status_is_ok(&status))
        return status;
    status = answer.kept ? answer_again(&answer, rpc_call_arena(call), response)
                         : act(call, &answer, request, response);
    answer_end(&answer);
    return status;
}
