#include <string.h>

#include "server/service/allowance.h"
#include "server/service/check.h"
#include "server/service/page.h"
#include "server/service/service.h"

#define LABEL_MAX 128

static struct status check_create(const Crownest__V1__CreateWebhookRequest *request)
{
    struct status status = webhook_check_url(request->url);

    if (status_is_ok(&status))
        status = check_actions(request->actions, request->n_actions);
    for (size_t i = 0; i < request->n_actions && status_is_ok(&status); i++) {
        if (request->actions[i][0] == '\0')
            status = status_invalid("actions", "FILTER_INVALID",
                                    "an empty action fits nothing; without any, everything fits");
    }
    if (status_is_ok(&status) && strlen(request->label) > LABEL_MAX)
        status =
            status_invalid("label", "LABEL_INVALID", "a label has at most %d bytes", LABEL_MAX);
    return status;
}

/* Makes it, or finds what an earlier try of the same request has made. */
static struct status make(struct rpc_call *call, const struct answer *answer,
                          const Crownest__V1__CreateWebhookRequest *request,
                          Crownest__V1__Webhook **ret_webhook)
{
    struct webhooks *webhooks = service_of(call)->webhooks;
    struct arena *arena = rpc_call_arena(call);
    struct audit_actor by = service_actor(call);

    if (answer->kept)
        return webhooks_get(webhooks, answer->kept->resource_id, arena, ret_webhook);
    struct status status = request->all_projects ? STATUS_OK_VALUE : allowance_webhooks(call);

    if (!status_is_ok(&status))
        return status;
    Crownest__V1__Webhook *webhook = arena_alloc(arena, sizeof(*webhook));
    struct store_batch *batch = store_batch_new();

    webhook_init(webhook, arena);
    if (!request->all_projects)
        webhook->project_id = arena_strdup(arena, rpc_call_caller(call)->project_id);
    webhook->url = request->url;
    webhook->actions = request->actions;
    webhook->n_actions = request->n_actions;
    webhook->label = request->label;
    answer_keep_id(answer, batch, webhook->webhook_id);
    *ret_webhook = webhook;
    return webhooks_add(webhooks, batch, webhook, &by);
}

struct status service_webhook_create(struct rpc_call *call,
                                     const Crownest__V1__CreateWebhookRequest *request,
                                     Crownest__V1__CreateWebhookResponse *response)
{
    struct service *service = service_of(call);
    char secret[SECRET_SIZE];
    struct answer answer;
    struct status status = check_create(request);

    if (status_is_ok(&status))
        status = answer_begin(service->answers, call, request->request_id, &answer);
    if (!status_is_ok(&status))
        return status;
    status = make(call, &answer, request, &response->webhook);
    answer_end(&answer);
    if (!status_is_ok(&status))
        return status;
    webhooks_secret(service->webhooks, response->webhook->webhook_id, secret);
    response->secret = arena_strdup(rpc_call_arena(call), secret);
    secret_wipe(secret, sizeof(secret));
    return STATUS_OK_VALUE;
}

static bool keep(void *arg, const void *message)
{
    struct rpc_call *call = arg;

    return webhooks_fill(service_of(call)->webhooks, (Crownest__V1__Webhook *)(uintptr_t)message,
                         rpc_call_arena(call));
}

struct status service_webhook_list(struct rpc_call *call,
                                   const Crownest__V1__ListWebhooksRequest *request,
                                   Crownest__V1__ListWebhooksResponse *response)
{
    struct page page;
    struct status status = page_init(&page, call, request->page_size, request->page_token, "whk_");

    if (!status_is_ok(&status))
        return status;
    page.range.prefix = schema_key("w", "", NULL, NULL);
    page.type = &crownest__v1__webhook__descriptor;
    page.keep = keep;
    page.keep_arg = call;
    status = page_read(&page, service_of(call)->store, &response->next_page_token);
    response->webhooks = (Crownest__V1__Webhook **)page.items;
    response->n_webhooks = page.count;
    return status;
}

struct status service_webhook_delete(struct rpc_call *call,
                                     const Crownest__V1__DeleteWebhookRequest *request,
                                     Crownest__V1__DeleteWebhookResponse *response)
{
    struct audit_actor by = service_actor(call);

    return webhooks_delete(service_of(call)->webhooks, request->webhook_id, &by,
                           rpc_call_arena(call), &response->webhook);
}
