#include <pthread.h>
#include <string.h>

#include "server/policy/key.h"
#include "server/policy/project.h"
#include "server/service/page.h"
#include "server/service/service.h"
#include "server/util/cleanup.h"
#include "server/util/clock.h"
#include "server/util/prototime.h"

#define LABEL_MAX 128

/* Keys are read, changed and written back: a retried mint must not undo a revocation. */
static pthread_mutex_t changing = PTHREAD_MUTEX_INITIALIZER;

static bool scope_known(const char *scope)
{
    for (size_t i = 0; i < rpc_scope_count; i++) {
        if (strcmp(rpc_scopes[i], scope) == 0)
            return true;
    }
    return false;
}

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

        if (!scope_known(scope))
            return status_invalid("scopes", "SCOPE_UNKNOWN", "`%.60s` is no scope of this service",
                                  scope);
        key->scopes[i] = arena_strdup(arena, scope);
    }
    return STATUS_OK_VALUE;
}

static struct status fill_key(struct rpc_call *call, const Crownest__V1__CreateKeyRequest *request,
                              Crownest__V1__Key *key)
{
    struct arena *arena = rpc_call_arena(call);
    char project_id[ID_SIZE];

    crownest__v1__key__init(key);
    if (strlen(request->label) > LABEL_MAX)
        return status_invalid("label", "LABEL_INVALID", "a label has at most %d bytes", LABEL_MAX);
    if (request->expire_time && prototime_ms(request->expire_time) <= clock_wall_ms())
        return status_invalid("expire_time", "EXPIRE_TIME_INVALID", "expire_time lies in the past");
    struct status status = project_resolve(service_of(call)->store, request->project, project_id);

    if (status_is_ok(&status))
        status = fill_scopes(request, arena, key);
    key->project_id = arena_strdup(arena, project_id);
    key->label = request->label;
    key->expire_time = request->expire_time;
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
    } else {
        key_create(batch, *key, arena, ret_secret);
        answer_keep_id(answer, batch, (*key)->key_id);
    }
    if (!status_is_ok(&status))
        store_batch_free(batch);
    else
        status = record_commit(store, batch);
    return status;
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
        page.items[i] = ((Crownest__Records__KeyRecord *)page.items[i])->key;
    response->keys = (Crownest__V1__Key **)page.items;
    response->n_keys = page.count;
    return status;
}

struct status service_key_revoke(struct rpc_call *call,
                                 const Crownest__V1__RevokeKeyRequest *request,
                                 Crownest__V1__RevokeKeyResponse *response)
{
    lock_scope(&changing);
    return key_revoke(service_of(call)->store, request->key_id, rpc_call_arena(call),
                      &response->key);
}

struct status service_key_who_am_i(struct rpc_call *call,
                                   const Crownest__V1__WhoAmIRequest *request,
                                   Crownest__V1__WhoAmIResponse *response)
{
    const struct rpc_caller *caller = rpc_call_caller(call);

    (void)request;
    response->operator_ = caller->operator;
    response->project_id = arena_strdup(rpc_call_arena(call), caller->project_id);
    if (caller->operator)
        return STATUS_OK_VALUE;
    return key_get(service_of(call)->store, caller->key_id, rpc_call_arena(call), &response->key);
}
