#include <pthread.h>
#include <string.h>

#include "server/policy/key.h"
#include "server/policy/key_quota.h"
#include "server/policy/project.h"
#include "server/policy/scope.h"
#include "server/service/allowance.h"
#include "server/service/page.h"
#include "server/service/service.h"
#include "server/util/cleanup.h"
#include "server/util/clock.h"
#include "server/util/prototime.h"

#define LABEL_MAX 128

/* Keys are read, changed and written back: a retried mint must not undo a revocation. */
static pthread_mutex_t changing = PTHREAD_MUTEX_INITIALIZER;

static struct status fill_scopes(const Crownest__V1__CreateKeyRequest *request, struct arena *arena,
                                 Crownest__V1__Key *key)
{
    key->n_scopes = request->n_scopes ? request->n_scopes : rpc_scope_count;
    if (key->n_scopes > rpc_scope_count)
        return status_invalid("scopes", "SCOPE_UNKNOWN", "there are only %zu scopes",
                              rpc_scope_count);
    key->scopes = arena_alloc(arena, key->n_scopes * sizeof(*key->scopes));
    for (size_t i = 0; i < key->n_scopes; i++) {
        const char *scope = request->n_scopes ? request->scopes[i] : rpc_scopes[i];

        struct status status = scope_check(scope);

        if (!status_is_ok(&status))
            return status;
        key->scopes[i] = arena_strdup(arena, scope);
    }
    return STATUS_OK_VALUE;
}

static struct status choose_project(struct rpc_call *call,
                                    const Crownest__V1__CreateKeyRequest *request,
                                    Crownest__V1__Key *key)
{
    char id[ID_SIZE] = "";
    struct status status = STATUS_OK_VALUE;

    if (request->any_project && request->project[0])
        return status_invalid("any_project", "PROJECT_AMBIGUOUS",
                              "a key is tied to `project` or to none: give one of the two");
    if (!request->any_project)
        status = project_resolve(service_of(call)->store, request->project, id);
    key->project_id = arena_strdup(rpc_call_arena(call), id);
    return status;
}

static struct status fill_key(struct rpc_call *call, const Crownest__V1__CreateKeyRequest *request,
                              Crownest__V1__Key *key)
{
    struct arena *arena = rpc_call_arena(call);

    crownest__v1__key__init(key);
    if (strlen(request->label) > LABEL_MAX)
        return status_invalid("label", "LABEL_INVALID", "a label has at most %d bytes", LABEL_MAX);
    if (request->expire_time && prototime_ms(request->expire_time) <= clock_wall_ms())
        return status_invalid("expire_time", "EXPIRE_TIME_INVALID", "expire_time lies in the past");
    struct status status = choose_project(call, request, key);

    if (status_is_ok(&status))
        status = fill_scopes(request, arena, key);
    key->label = request->label;
    key->expire_time = request->expire_time;
    return status;
}

/* A key that is tied to no project is no project's. */
static struct status admit(struct rpc_call *call, const char *project_id)
{
    struct service *service = service_of(call);
    uint64_t left;

    if (project_id[0] == '\0')
        return STATUS_OK_VALUE;
    struct status status = key_quota_check(service->store, service->quotas, project_id, &left);

    allowance_tell_number(call, "x-crownest-remaining-keys", left);
    return status;
}

static struct status mint(struct rpc_call *call, const struct answer *answer,
                          Crownest__V1__Key **key, char ret_secret[SECRET_SIZE])
{
    lock_scope(&changing);
    struct store *store = service_of(call)->store;
    struct arena *arena = rpc_call_arena(call);
    struct store_batch *batch = store_batch_new();
    struct status status = STATUS_OK_VALUE;

    if (answer->kept) {
        status = key_renew(store, batch, answer->kept->resource_id, arena, key, ret_secret);
    } else if (status = admit(call, (*key)->project_id), status_is_ok(&status)) {
        key_create(batch, *key, arena, ret_secret);
        answer_keep_id(answer, batch, (*key)->key_id);
    }
    if (!status_is_ok(&status)) {
        store_batch_free(batch);
        return status;
    }
    struct audit_actor by = service_actor(call);

    audit_add(batch, &(struct audit_entry){.actor = &by,
                                           .action = answer->kept ? "key.renew" : "key.create",
                                           .resource_id = (*key)->key_id,
                                           .project_id = (*key)->project_id,
                                           .detail = (*key)->label});
    return record_commit(store, batch);
}

struct status service_key_create(struct rpc_call *call,
                                 const Crownest__V1__CreateKeyRequest *request,
                                 Crownest__V1__CreateKeyResponse *response)
{
    struct service *service = service_of(call);
    char secret[SECRET_SIZE];
    struct answer answer;

    response->key = arena_alloc(rpc_call_arena(call), sizeof(*response->key));
    struct status status = fill_key(call, request, response->key);

    if (status_is_ok(&status))
        status = answer_begin(service->answers, call, request->request_id, &answer);
    if (!status_is_ok(&status))
        return status;
    status = mint(call, &answer, &response->key, secret);
    answer_end(&answer);
    if (status_is_ok(&status))
        response->secret = arena_strdup(rpc_call_arena(call), secret);
    secret_wipe(secret, sizeof(secret));
    return status;
}

/* Stands in a record of its own, which is written without a sync. */
static Crownest__V1__Key *with_last_use(struct rpc_call *call, Crownest__V1__Key *key)
{
    uint64_t time_ms = key_last_use(service_of(call)->store, key->key_id);

    key->last_use_time = time_ms ? prototime_from_ms(rpc_call_arena(call), time_ms) : NULL;
    return key;
}

struct status service_key_list(struct rpc_call *call, const Crownest__V1__ListKeysRequest *request,
                               Crownest__V1__ListKeysResponse *response)
{
    struct page page;
    struct status status = page_init(&page, call, request->page_size, request->page_token, "key_");

    if (!status_is_ok(&status))
        return status;
    page.range.prefix = schema_key("k", "", NULL, NULL);
    page.type = &crownest__records__key_record__descriptor;
    status = page_read(&page, service_of(call)->store, &response->next_page_token);
    for (size_t i = 0; i < page.count; i++)
        page.items[i] = with_last_use(call, ((Crownest__Records__KeyRecord *)page.items[i])->key);
    response->keys = (Crownest__V1__Key **)page.items;
    response->n_keys = page.count;
    return status;
}

/* The same words as on the key's next call. */
static struct status ask_revoked(void *arg, const struct rpc_caller *caller)
{
    return strcmp(caller->key_id, arg) == 0 ? key_revoked() : STATUS_OK_VALUE;
}

static struct status do_revoke(struct rpc_call *call, const char *key_id,
                               Crownest__V1__Key **ret_key)
{
    struct audit_actor by = service_actor(call);

    lock_scope(&changing);
    return key_revoke(service_of(call)->store, key_id, &by, rpc_call_arena(call), ret_key);
}

struct status service_key_revoke(struct rpc_call *call,
                                 const Crownest__V1__RevokeKeyRequest *request,
                                 Crownest__V1__RevokeKeyResponse *response)
{
    struct status status = do_revoke(call, request->key_id, &response->key);

    if (!status_is_ok(&status))
        return status;
    rpc_server_recheck(rpc_call_server(call), ask_revoked, response->key->key_id);
    (void)with_last_use(call, response->key);
    return STATUS_OK_VALUE;
}

struct status service_key_who_am_i(struct rpc_call *call,
                                   const Crownest__V1__WhoAmIRequest *request,
                                   Crownest__V1__WhoAmIResponse *response)
{
    const struct rpc_caller *caller = rpc_call_caller(call);
    struct arena *arena = rpc_call_arena(call);
    Crownest__V1__Key *key;

    (void)request;
    response->operator_ = caller->operator;
    response->project_id = arena_strdup(arena, caller->project_id);
    if (caller->session_id[0]) {
        response->operator_name = arena_strdup(arena, strchr(caller->actor, ':') + 1);
        response->session_expire_time = prototime_from_ms(arena, caller->expire_ms);
    }
    if (caller->operator)
        return STATUS_OK_VALUE;
    struct status status = key_get(service_of(call)->store, caller->key_id, arena, &key);

    if (status_is_ok(&status))
        response->key = with_last_use(call, key);
    return status;
}
