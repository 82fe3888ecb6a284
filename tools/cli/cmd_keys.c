#include <string.h>
#include <time.h>

#include "bindings/c/crownest_key.h"
#include "tools/cli/list.h"
#include "tools/cli/text.h"

#define YEARS_100 (100ULL * 366 * 24 * 3600)

struct create_flags {
    struct connect_flags connect;
    struct flag_list scopes;
    const char *label;
    uint64_t expires_in; /* 0: never */
    bool any_project;
    bool as_json;
};

static const char *project_name(const Crownest__V1__Key *key)
{
    return key->project_id[0] ? key->project_id : "any project";
}

/* The secret alone goes to stdout, so that KEY=$(crownest keys create) works. */
static int print_created(const Crownest__V1__CreateKeyResponse *response, bool as_json)
{
    if (as_json)
        return json_print(json_from_message(&response->base), stdout) ? EXIT_FAILED : EXIT_OK;
    if (puts(response->secret) == EOF || fflush(stdout))
        return EXIT_FAILED;
    fprintf(stderr, "%s in %s, with %zu scopes. The secret is not shown again.\n",
            response->key->key_id, project_name(response->key), response->key->n_scopes);
    return EXIT_OK;
}

static int create(const struct command *command, const struct create_flags *values)
{
    Google__Protobuf__Timestamp expire_time = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    Crownest__V1__CreateKeyRequest request = CROWNEST__V1__CREATE_KEY_REQUEST__INIT;
    Crownest__V1__CreateKeyResponse *response;
    struct crownest_error error;
    char request_id[CROWNEST_REQUEST_ID_SIZE];
    struct crownest_client *client = connect_client(command, &values->connect);
    int code;

    if (!client)
        return EXIT_FAILED;
    crownest_request_id(request_id);
    request.request_id = request_id;
    request.project = (char *)(values->connect.project ? values->connect.project : "");
    request.any_project = values->any_project;
    request.label = (char *)(values->label ? values->label : "");
    request.scopes = (char **)values->scopes.items;
    request.n_scopes = values->scopes.count;
    if (values->expires_in) {
        expire_time.seconds = (int64_t)time(NULL) + (int64_t)values->expires_in;
        request.expire_time = &expire_time;
    }
    if (crownest_key_create(client, &request, NULL, &response, &error)) {
        code = connect_failed(command, client, &error);
    } else {
        code = print_created(response, values->as_json);
        explicit_bzero(response->secret, strlen(response->secret));
        crownest__v1__create_key_response__free_unpacked(response, NULL);
    }
    crownest_client_free(client);
    return code;
}

static int create_run(const struct command *command, int argc, char **argv)
{
    struct create_flags values = {0};
    const struct flag flags[] = {
        {.name = "label",
         .kind = FLAG_TEXT,
         .value = &values.label,
         .operand = "TEXT",
         .help = "what it is for"},
        {.name = "scope",
         .kind = FLAG_LIST,
         .value = &values.scopes,
         .operand = "SCOPE",
         .help = "resource:action; may be repeated; none given: all of them"},
        {.name = "expires-in",
         .kind = FLAG_NUMBER,
         .value = &values.expires_in,
         .operand = "SECONDS",
         .help = "0, the default: never",
         .max = YEARS_100},
        {.name = "any-project",
         .kind = FLAG_SWITCH,
         .value = &values.any_project,
         .help = "tie it to no project: each call names one"},
        {.name = "json", .kind = FLAG_SWITCH, .value = &values.as_json, .help = "print as JSON"},
        CONNECT_FLAGS(&values.connect),
    };
    int first;
    enum flags_result parsed = FLAGS_PARSE(command, flags, argc, argv, &first);

    if (parsed != FLAGS_OK)
        return parsed == FLAGS_HELP ? EXIT_OK : EXIT_USAGE;
    if (argc != first)
        return flags_mistake(command, "takes no operands");
    return create(command, &values);
}

static void print_row(const ProtobufCMessage *item)
{
    const Crownest__V1__Key *key = (const Crownest__V1__Key *)item;
    char label[64];
    char created[TEXT_TIME_SIZE];
    char ended[TEXT_TIME_SIZE];
    char used[TEXT_TIME_SIZE];

    text_format(key->label, label, sizeof(label));
    text_time(key->create_time, created);
    text_time(key->revoke_time ? key->revoke_time : key->expire_time, ended);
    text_time(key->last_use_time, used);
    printf("%-30s  %-30s  %-20s  %-8s%-20s  %-20s  %3zu  %s\n", key->key_id, project_name(key),
           created,
           key->revoke_time   ? "revoked"
           : key->expire_time ? "expires"
                              : "valid",
           ended, used, key->n_scopes, label);
}

static int fetch(struct list *list, const char *page_token, char **ret_next,
                 struct crownest_error *ret_error)
{
    Crownest__V1__ListKeysRequest request = CROWNEST__V1__LIST_KEYS_REQUEST__INIT;
    Crownest__V1__ListKeysResponse *page;

    request.page_token = (char *)page_token;
    int result = crownest_key_list(list->client, &request, NULL, &page, ret_error);
    if (result)
        return result;
    for (size_t i = 0; i < page->n_keys; i++)
        list_item(list, &page->keys[i]->base);
    *ret_next = list_next(page->next_page_token);
    crownest__v1__list_keys_response__free_unpacked(page, NULL);
    return 0;
}

static int list_run(const struct command *command, int argc, char **argv)
{
    struct list list = {
        .command = command,
        .heading = "KEY                             PROJECT                         CREATED       "
                   "        STATE                         LAST USED             SCOPES  LABEL\n",
        .print_row = print_row,
        .fetch = fetch,
    };

    return list_main(&list, argc, argv);
}

static int revoke(const struct command *command, struct crownest_client *client, char *key_id)
{
    Crownest__V1__RevokeKeyRequest request = CROWNEST__V1__REVOKE_KEY_REQUEST__INIT;
    Crownest__V1__RevokeKeyResponse *response;
    struct crownest_error error;

    request.key_id = key_id;
    if (crownest_key_revoke(client, &request, NULL, &response, &error))
        return connect_failed(command, client, &error);
    (void)puts(response->key->key_id);
    crownest__v1__revoke_key_response__free_unpacked(response, NULL);
    return EXIT_OK;
}

static int revoke_run(const struct command *command, int argc, char **argv)
{
    return connect_each(command, argc, argv, "a key", revoke);
}

const struct command command_keys_create = {
    .name = "keys create",
    .operands = "",
    .summary = "mint an API key (operators)",
    .manual = "Prints the secret to stdout and nothing else there. Only its hash is stored.\n",
    .run = create_run,
};

const struct command command_keys_list = {
    .name = "keys list",
    .operands = "",
    .summary = "list keys without their secrets, newest first (operators)",
    .run = list_run,
};

const struct command command_keys_revoke = {
    .name = "keys revoke",
    .operands = "KEY...",
    .summary = "revoke keys: their next call is refused, their open streams end (operators)",
    .run = revoke_run,
};
