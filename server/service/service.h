/*
 * What the handlers of the services work on. One file for each service of the contract; each
 * handler validates, acts and answers, and is found by the name of its method.
 */
#pragma once

#include "server/artifact/artifacts.h"
#include "server/artifact/blob.h"
#include "server/audit/audit.h"
#include "server/backup/backup.h"
#include "server/meter/meter.h"
#include "server/plan/quota.h"
#include "server/policy/admission.h"
#include "server/policy/answer.h"
#include "server/policy/authorize.h"
#include "server/rpc/rpc.h"
#include "server/sandbox/command.h"
#include "server/sandbox/preview.h"
#include "server/sandbox/sandbox.h"
#include "server/store/store.h"
#include "server/webhook/webhook.h"

struct service {
    struct store *store;
    struct authority authority;
    struct audit *audit;
    struct quotas *quotas;
    struct admission admission; /* whether store, and the disk, take something new */
    struct meter *meter;
    struct sandboxes *sandboxes;
    struct commands *commands;
    struct blob_store *blobs;
    struct artifacts artifacts;
    struct backups *backups;
    struct webhooks *webhooks;
    struct answers *answers;
    struct previews previews;
    const char *template_directory;
};

/*
 * Between the look at what is there and the write nobody else makes or changes a project, or a
 * plan.
 */
extern pthread_mutex_t service_projects_changing;

/* The handler of every method of the contract, for rpc_server_options; context is a struct service.
 */
const struct rpc_handler *service_handlers(void);

static inline struct service *service_of(const struct rpc_call *call)
{
    return rpc_call_context(call);
}

/* Who calls, as the audit names it. */
struct audit_actor service_actor(const struct rpc_call *call);
/* The same status; the audit tells of it when it is a refusal. Done for every unary call. */
struct status service_answer(struct rpc_call *call, struct status status);
/* Has the audit tell of a call that was refused. */
void service_denied(struct rpc_call *call, const struct status *status);

/* One handler for each method: service_<noun>_<method>. */
#define SERVICE_DECLARE_UNARY(id, name, request_type, response_type)                               \
    struct status service_##name(struct rpc_call *call, const request_type *request,               \
                                 response_type *response);
#define SERVICE_DECLARE_SERVER_STREAM(id, name, request_type, response_type)                       \
    extern const struct rpc_server_stream_ops service_##name;
#define SERVICE_DECLARE_CLIENT_STREAM(id, name, request_type, response_type)                       \
    extern const struct rpc_client_stream_ops service_##name;

RPC_UNARY_METHODS(SERVICE_DECLARE_UNARY)
RPC_SERVER_STREAM_METHODS(SERVICE_DECLARE_SERVER_STREAM)
RPC_CLIENT_STREAM_METHODS(SERVICE_DECLARE_CLIENT_STREAM)
