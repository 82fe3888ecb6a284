#include <inttypes.h>
#include <string.h>

#include "bindings/c/crownest_webhook.h"
#include "tools/cli/list.h"
#include "tools/cli/text.h"

struct create_flags {
    struct connect_flags connect;
    struct flag_list actions;
    const char *label;
    bool all_projects;
    bool as_json;
};

/* The secret alone goes to stdout, so that SECRET=$(crownest webhooks create URL) works. */
static int print_created(const Crownest__V1__CreateWebhookResponse *response, bool as_json)
{
    if (as_json)
        return json_print(json_from_message(&response->base), stdout) ? EXIT_FAILED : EXIT_OK;
    if (puts(response->secret) == EOF || fflush(stdout))
        return EXIT_FAILED;
    fprintf(stderr, "%s begins after entry %" PRIu64 ". The secret is not shown again.\n",
            response->webhook->webhook_id, response->webhook->delivered_sequence);
    return EXIT_OK;
}

static int create(const struct command *command, const struct create_flags *values, char *url)
{
    Crownest__V1__CreateWebhookRequest request = CROWNEST__V1__CREATE_WEBHOOK_REQUEST__INIT;
    Crownest__V1__CreateWebhookResponse *response;
    struct crownest_error error;
    char request_id[CROWNEST_REQUEST_ID_SIZE];
    struct crownest_client *client = connect_client(command, &values->connect);
    int code;

    if (!client)
        return EXIT_FAILED;
    crownest_request_id(request_id);
    request.request_id = request_id;
    request.url = url;
    request.actions = (char **)(uintptr_t)values->actions.items;
    request.n_actions = values->actions.count;
    request.label = (char *)(uintptr_t)(values->label ? values->label : "");
    request.all_projects = values->all_projects;
    if (crownest_webhook_create(client, &request, NULL, &response, &error)) {
        code = connect_failed(command, client, &error);
    } else {
        code = print_created(response, values->as_json);
        explicit_bzero(response->secret, strlen(response->secret));
        crownest__v1__create_webhook_response__free_unpacked(response, NULL);
    }
    crownest_client_free(client);
    return code;
}

static int create_run(const struct command *command, int argc, char **argv)
{
    struct create_flags values = {0};
    const struct flag flags[] = {
        {.name = "action",
         .kind = FLAG_LIST,
         .value = &values.actions,
         .operand = "ACTION",
         .help = "only this one, or all of a noun; may be repeated"},
        {.name = "all-projects",
         .kind = FLAG_SWITCH,
         .value = &values.all_projects,
         .help = "entries of every project, and those about none"},
        {.name = "label",
         .kind = FLAG_TEXT,
         .value = &values.label,
         .operand = "TEXT",
         .help = "what it is for"},
        {.name = "json", .kind = FLAG_SWITCH, .value = &values.as_json, .help = "print as JSON"},
        CONNECT_FLAGS(&values.connect),
    };
    int first;
    enum flags_result parsed = FLAGS_PARSE(command, flags, argc, argv, &first);

    if (parsed != FLAGS_OK)
        return parsed == FLAGS_HELP ? EXIT_OK : EXIT_USAGE;
    if (argc - first != 1)
        return flags_mistake(command, "needs one URL");
    return create(command, &values, argv[first]);
}

static void print_row(const ProtobufCMessage *item)
{
    const Crownest__V1__Webhook *webhook = (const Crownest__V1__Webhook *)item;
    char created[TEXT_TIME_SIZE];
    char failing[TEXT_TIME_SIZE];
    char label[64];

    text_format(webhook->label, label, sizeof(label));
    text_time(webhook->create_time, created);
    text_time(webhook->failing_since, failing);
    printf("%-30s  %-30s  %-20s  %9" PRIu64 "  %-20s  %s  %s\n", webhook->webhook_id,
           webhook->project_id[0] ? webhook->project_id : "all projects", created,
           webhook->delivered_sequence, failing, webhook->url, label);
    if (webhook->last_error[0])
        printf("%-30s  %s\n", "", webhook->last_error);
}

static int fetch(struct list *list, const char *page_token, char **ret_next,
                 struct crownest_error *ret_error)
{
    Crownest__V1__ListWebhooksRequest request = CROWNEST__V1__LIST_WEBHOOKS_REQUEST__INIT;
    Crownest__V1__ListWebhooksResponse *page;

    request.page_token = (char *)(uintptr_t)page_token;
    int result = crownest_webhook_list(list->client, &request, NULL, &page, ret_error);

    if (result)
        return result;
    for (size_t i = 0; i < page->n_webhooks; i++)
        list_item(list, &page->webhooks[i]->base);
    *ret_next = list_next(page->next_page_token);
    crownest__v1__list_webhooks_response__free_unpacked(page, NULL);
    return 0;
}

static int list_run(const struct command *command, int argc, char **argv)
{
    struct list list = {
        .command = command,
        .heading = "WEBHOOK                         PROJECT                         CREATED       "
                   "        DELIVERED  FAILING SINCE         URL  LABEL\n",
        .print_row = print_row,
        .fetch = fetch,
    };

    return list_main(&list, argc, argv);
}

static int delete_one(const struct command *command, struct crownest_client *client, char *id)
{
    Crownest__V1__DeleteWebhookRequest request = CROWNEST__V1__DELETE_WEBHOOK_REQUEST__INIT;
    Crownest__V1__DeleteWebhookResponse *response;
    struct crownest_error error;

    request.webhook_id = id;
    if (crownest_webhook_delete(client, &request, NULL, &response, &error))
        return connect_failed(command, client, &error);
    (void)puts(response->webhook->webhook_id);
    crownest__v1__delete_webhook_response__free_unpacked(response, NULL);
    return EXIT_OK;
}

static int delete_run(const struct command *command, int argc, char **argv)
{
    return connect_each(command, argc, argv, "a webhook", delete_one);
}

const struct command command_webhooks_create = {
    .name = "webhooks create",
    .operands = "URL",
    .summary = "have the audit's entries posted to a URL (operators)",
    .manual =
        "Prints the secret that deliveries are signed with to stdout and nothing else there.\n",
    .run = create_run,
};

const struct command command_webhooks_list = {
    .name = "webhooks list",
    .operands = "",
    .summary = "list webhooks, newest first, and what they fail with (operators)",
    .run = list_run,
};

const struct command command_webhooks_delete = {
    .name = "webhooks delete",
    .operands = "WEBHOOK...",
    .summary = "end webhooks (operators)",
    .run = delete_run,
};
