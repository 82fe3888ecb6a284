#include <stdio.h>
#include <string.h>

#include "server/policy/operator.h"
#include "server/policy/session.h"
#include "server/service/page.h"
#include "server/service/service.h"
#include "server/util/limits.h"
#include "server/util/prototime.h"

#define SESSION_MIN_MS 60000

/* The decoded copy of a password, which nobody reads any more. */
static void forget(const char *password)
{
    secret_wipe((void *)(uintptr_t)password, strlen(password));
}

static const char *actor_of(struct arena *arena, const char *name)
{
    return arena_printf(arena, "operator:%s", name);
}

static struct status ask_operator(void *arg, const struct rpc_caller *caller)
{
    return strcmp(caller->actor, arg) == 0 ? session_ended() : STATUS_OK_VALUE;
}

static struct status ask_session(void *arg, const struct rpc_caller *caller)
{
    return strcmp(caller->session_id, arg) == 0 ? session_ended() : STATUS_OK_VALUE;
}

/* The streams of all sessions of an operator. */
static void end_streams(struct rpc_call *call, const char *name)
{
    rpc_server_recheck(rpc_call_server(call), ask_operator,
                       (void *)(uintptr_t)actor_of(rpc_call_arena(call), name));
}

struct status service_operator_create(struct rpc_call *call,
                                      const Crownest__V1__CreateOperatorRequest *request,
                                      Crownest__V1__CreateOperatorResponse *response)
{
    struct operators *operators = service_of(call)->authority.operators;
    struct audit_actor by = service_actor(call);
    struct status status = operator_create(operators, request->name, request->password, &by,
                                           rpc_call_arena(call), &response->operator_);

    forget(request->password);
    if (status_is_ok(&status))
        operator_fill(operators, response->operator_, rpc_call_arena(call));
    return status;
}

struct status service_operator_set_password(struct rpc_call *call,
                                            const Crownest__V1__SetPasswordRequest *request,
                                            Crownest__V1__SetPasswordResponse *response)
{
    struct audit_actor by = service_actor(call);
    struct status status =
        operator_set_password(service_of(call)->authority.operators, request->name,
                              request->password, &by, rpc_call_arena(call), &response->operator_);

    forget(request->password);
    if (status_is_ok(&status))
        end_streams(call, request->name);
    return status;
}

struct status service_operator_delete(struct rpc_call *call,
                                      const Crownest__V1__DeleteOperatorRequest *request,
                                      Crownest__V1__DeleteOperatorResponse *response)
{
    struct audit_actor by = service_actor(call);
    struct status status = operator_delete(service_of(call)->authority.operators, request->name,
                                           &by, rpc_call_arena(call));

    (void)response;
    if (status_is_ok(&status))
        end_streams(call, request->name);
    return status;
}

struct status service_operator_list(struct rpc_call *call,
                                    const Crownest__V1__ListOperatorsRequest *request,
                                    Crownest__V1__ListOperatorsResponse *response)
{
    struct page page;
    struct status status = page_init(&page, call, request->page_size, "", "");

    if (status_is_ok(&status) && request->page_token[0] &&
        !operator_name_valid(request->page_token))
        status = status_invalid("page_token", "PAGE_TOKEN_INVALID",
                                "a page_token is the next_page_token of the page before");
    if (!status_is_ok(&status))
        return status;
    page.range.start = request->page_token;
    page.range.prefix = schema_key("o", "", NULL, NULL);
    page.type = &crownest__records__operator_record__descriptor;
    status = page_read(&page, service_of(call)->store, &response->next_page_token);
    for (size_t i = 0; i < page.count; i++) {
        page.items[i] = ((Crownest__Records__OperatorRecord *)page.items[i])->operator_;
        operator_fill(service_of(call)->authority.operators, page.items[i], rpc_call_arena(call));
    }
    response->operators = (Crownest__V1__Operator **)page.items;
    response->n_operators = page.count;
    return status;
}

/* Whose name it was; what is no name of anybody's is not repeated. */
static void tell_denied(struct rpc_call *call, const char *name, const struct status *status)
{
    struct audit_actor by = service_actor(call);

    audit_denied(service_of(call)->audit,
                 &(struct audit_entry){.actor = &by,
                                       .action = "operator.login",
                                       .resource_id = operator_name_valid(name) ? name : NULL,
                                       .outcome = AUDIT_DENIED,
                                       .reason = status->reason,
                                       .detail = status->message});
}

struct status service_operator_login(struct rpc_call *call,
                                     const Crownest__V1__LoginRequest *request,
                                     Crownest__V1__LoginResponse *response)
{
    struct arena *arena = rpc_call_arena(call);
    uint64_t ttl_ms = LIMIT_SESSION_DEFAULT_S * 1000ULL;
    char token[SECRET_SIZE];
    Crownest__Records__SessionRecord *session;

    if (request->ttl && (protoduration_ms(request->ttl, LIMIT_SESSION_S * 1000ULL, &ttl_ms) < 0 ||
                         ttl_ms < SESSION_MIN_MS))
        return status_invalid("ttl", "SESSION_TTL_INVALID", "a session lasts %d s to %d s",
                              SESSION_MIN_MS / 1000, LIMIT_SESSION_S);
    struct status status =
        operator_login(service_of(call)->authority.operators, request->name, request->password,
                       ttl_ms, rpc_call_request_id(call), arena, token, &session);

    forget(request->password);
    if (status.code == STATUS_UNAUTHENTICATED)
        tell_denied(call, request->name, &status);
    if (!status_is_ok(&status))
        return status;
    response->token = arena_strdup(arena, token);
    secret_wipe(token, sizeof(token));
    response->expire_time = prototime_from_ms(arena, session->expire_ms);
    response->name = session->name;
    return STATUS_OK_VALUE;
}

struct status service_operator_logout(struct rpc_call *call,
                                      const Crownest__V1__LogoutRequest *request,
                                      Crownest__V1__LogoutResponse *response)
{
    const struct rpc_caller *caller = rpc_call_caller(call);
    const char *name = strchr(caller->actor, ':') + 1;
    struct audit_actor by = service_actor(call);

    (void)response;
    if (caller->session_id[0] == '\0')
        return status_error(STATUS_FAILED_PRECONDITION, "SESSION_MISSING",
                            "on the local socket there is no session to end");
    struct status status = operator_logout(service_of(call)->authority.operators, name,
                                           request->everywhere ? NULL : caller->session_id, &by);

    if (!status_is_ok(&status))
        return status;
    if (request->everywhere)
        end_streams(call, name);
    else
        rpc_server_recheck(rpc_call_server(call), ask_session,
                           (void *)(uintptr_t)caller->session_id);
    return STATUS_OK_VALUE;
}
