#include <string.h>

#include "bindings/c/crownest_operator.h"
#include "tools/cli/ask_password.h"
#include "tools/cli/list.h"
#include "tools/cli/text.h"

struct password_flags {
    struct connect_flags connect;
    bool password_stdin;
    bool as_json;
};

/* What create and set-password do: calls the service and prints the operator. */
typedef int call_fn(struct crownest_client *client, char *name, char *password,
                    Crownest__V1__Operator **ret_operator, void **ret_response,
                    struct crownest_error *ret_error);

static int call_create(struct crownest_client *client, char *name, char *password,
                       Crownest__V1__Operator **ret_operator, void **ret_response,
                       struct crownest_error *ret_error)
{
    Crownest__V1__CreateOperatorRequest request = CROWNEST__V1__CREATE_OPERATOR_REQUEST__INIT;
    Crownest__V1__CreateOperatorResponse *response;

    request.name = name;
    request.password = password;
    int result = crownest_operator_create(client, &request, NULL, &response, ret_error);

    if (result == 0) {
        *ret_operator = response->operator_;
        *ret_response = response;
    }
    return result;
}

static int call_set(struct crownest_client *client, char *name, char *password,
                    Crownest__V1__Operator **ret_operator, void **ret_response,
                    struct crownest_error *ret_error)
{
    Crownest__V1__SetPasswordRequest request = CROWNEST__V1__SET_PASSWORD_REQUEST__INIT;
    Crownest__V1__SetPasswordResponse *response;

    request.name = name;
    request.password = password;
    int result = crownest_operator_set_password(client, &request, NULL, &response, ret_error);

    if (result == 0) {
        *ret_operator = response->operator_;
        *ret_response = response;
    }
    return result;
}

static int print_operator(const Crownest__V1__Operator *operator, bool as_json)
{
    if (as_json)
        return json_print(json_from_message(&operator->base), stdout) ? EXIT_FAILED : EXIT_OK;
    return puts(operator->name) == EOF ? EXIT_FAILED : EXIT_OK;
}

static int with_password(const struct command *command, const struct password_flags *values,
                         char *name, call_fn *call)
{
    char password[ASK_PASSWORD_SIZE];
    struct crownest_error error;
    Crownest__V1__Operator *made;
    void *response;
    int code;

    if (ask_password(command, values->password_stdin, true, password) < 0)
        return EXIT_FAILED;
    struct crownest_client *client = connect_client(command, &values->connect);

    if (!client) {
        code = EXIT_FAILED;
    } else if (call(client, name, password, &made, &response, &error)) {
        code = connect_failed(command, client, &error);
    } else {
        code = print_operator(made, values->as_json);
        protobuf_c_message_free_unpacked(response, NULL);
    }
    explicit_bzero(password, sizeof(password));
    crownest_client_free(client);
    return code;
}

static int password_run(const struct command *command, int argc, char **argv, call_fn *call)
{
    struct password_flags values = {0};
    const struct flag flags[] = {
        {.name = "password-stdin",
         .kind = FLAG_SWITCH,
         .value = &values.password_stdin,
         .help = "read the password from stdin instead of the terminal"},
        {.name = "json", .kind = FLAG_SWITCH, .value = &values.as_json, .help = "print as JSON"},
        CONNECT_FLAGS(&values.connect),
    };
    int first;
    enum flags_result parsed = FLAGS_PARSE(command, flags, argc, argv, &first);

    if (parsed != FLAGS_OK)
        return parsed == FLAGS_HELP ? EXIT_OK : EXIT_USAGE;
    if (argc - first != 1)
        return flags_mistake(command, "needs the name of one operator");
    return with_password(command, &values, argv[first], call);
}

static int create_run(const struct command *command, int argc, char **argv)
{
    return password_run(command, argc, argv, call_create);
}

static int set_run(const struct command *command, int argc, char **argv)
{
    return password_run(command, argc, argv, call_set);
}

static void print_row(const ProtobufCMessage *item)
{
    const Crownest__V1__Operator *operator=(const Crownest__V1__Operator *) item;
    char created[TEXT_TIME_SIZE];
    char changed[TEXT_TIME_SIZE];
    char login[TEXT_TIME_SIZE];

    text_time(operator->create_time, created);
    text_time(operator->password_time, changed);
    text_time(operator->last_login_time, login);
    printf("%-30s  %-20s  %-20s  %-20s  %8u\n", operator->name, created, changed,
           login, operator->sessions);
}

static int fetch(struct list *list, const char *page_token, char **ret_next,
                 struct crownest_error *ret_error)
{
    Crownest__V1__ListOperatorsRequest request = CROWNEST__V1__LIST_OPERATORS_REQUEST__INIT;
    Crownest__V1__ListOperatorsResponse *page;

    request.page_token = (char *)(uintptr_t)page_token;
    int result = crownest_operator_list(list->client, &request, NULL, &page, ret_error);

    if (result)
        return result;
    for (size_t i = 0; i < page->n_operators; i++)
        list_item(list, &page->operators[i]->base);
    *ret_next = list_next(page->next_page_token);
    crownest__v1__list_operators_response__free_unpacked(page, NULL);
    return 0;
}

static int list_run(const struct command *command, int argc, char **argv)
{
    struct list list = {
        .command = command,
        .heading = "NAME                            CREATED               PASSWORD SET          "
                   "LAST LOGIN            SESSIONS\n",
        .print_row = print_row,
        .fetch = fetch,
    };

    return list_main(&list, argc, argv);
}

static int delete_one(const struct command *command, struct crownest_client *client, char *name)
{
    Crownest__V1__DeleteOperatorRequest request = CROWNEST__V1__DELETE_OPERATOR_REQUEST__INIT;
    Crownest__V1__DeleteOperatorResponse *response;
    struct crownest_error error;

    request.name = name;
    if (crownest_operator_delete(client, &request, NULL, &response, &error))
        return connect_failed(command, client, &error);
    (void)puts(name);
    crownest__v1__delete_operator_response__free_unpacked(response, NULL);
    return EXIT_OK;
}

static int delete_run(const struct command *command, int argc, char **argv)
{
    return connect_each(command, argc, argv, "an operator", delete_one);
}

const struct command command_operators_create = {
    .name = "operators create",
    .operands = "NAME",
    .summary = "let somebody log in as an operator (operators)",
    .run = create_run,
};

const struct command command_operators_set_password = {
    .name = "operators set-password",
    .operands = "NAME",
    .summary = "change a password, which ends all sessions (operators)",
    .run = set_run,
};

const struct command command_operators_list = {
    .name = "operators list",
    .operands = "",
    .summary = "list operators (operators)",
    .run = list_run,
};

const struct command command_operators_delete = {
    .name = "operators delete",
    .operands = "NAME...",
    .summary = "remove operators, which ends all their sessions (operators)",
    .run = delete_run,
};
