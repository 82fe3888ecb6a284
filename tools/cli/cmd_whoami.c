#include "bindings/c/crownest_key.h"
#include "tools/cli/connect.h"
#include "tools/cli/json.h"
#include "tools/cli/text.h"

static void print_line(const char *name, const char *value)
{
    printf("%-9s ", name);
    text_print(value, stdout);
    (void)putchar('\n');
}

static void print_time(const char *name, const Google__Protobuf__Timestamp *time)
{
    char text[TEXT_TIME_SIZE];

    if (!time)
        return;
    text_time(time, text);
    print_line(name, text);
}

static void print_key(const Crownest__V1__Key *key)
{
    print_line("key", key->key_id);
    if (key->label[0])
        print_line("label", key->label);
    print_time("created", key->create_time);
    print_time("last used", key->last_use_time);
    print_time("expires", key->expire_time);
    for (size_t i = 0; i < key->n_scopes; i++)
        print_line(i ? "" : "scopes", key->scopes[i]);
}

static int print_caller(const Crownest__V1__WhoAmIResponse *response, bool as_json)
{
    if (as_json)
        return json_print(json_from_message(&response->base), stdout) ? EXIT_FAILED : EXIT_OK;
    if (response->operator_)
        print_line("operator", response->operator_name[0] ? response->operator_name : "local");
    print_time("until", response->session_expire_time);
    print_line("project", response->project_id);
    if (response->key)
        print_key(response->key);
    return fflush(stdout) ? EXIT_FAILED : EXIT_OK;
}

static int whoami_run(const struct command *command, int argc, char **argv)
{
    Crownest__V1__WhoAmIRequest request = CROWNEST__V1__WHO_AM_IREQUEST__INIT;
    Crownest__V1__WhoAmIResponse *response;
    struct connect_flags connect = {0};
    bool as_json = false;
    const struct flag flags[] = {
        {.name = "json", .kind = FLAG_SWITCH, .value = &as_json, .help = "print as JSON"},
        CONNECT_FLAGS(&connect),
    };
    struct crownest_error error;
    int first, code;
    enum flags_result parsed = FLAGS_PARSE(command, flags, argc, argv, &first);

    if (parsed != FLAGS_OK)
        return parsed == FLAGS_HELP ? EXIT_OK : EXIT_USAGE;
    if (argc != first)
        return flags_mistake(command, "takes no operands");
    struct crownest_client *client = connect_client(command, &connect);

    if (!client)
        return EXIT_FAILED;
    if (crownest_key_who_am_i(client, &request, NULL, &response, &error)) {
        code = connect_failed(command, client, &error);
    } else {
        code = print_caller(response, as_json);
        crownest__v1__who_am_iresponse__free_unpacked(response, NULL);
    }
    crownest_client_free(client);
    return code;
}

const struct command command_whoami = {
    .name = "whoami",
    .operands = "",
    .summary = "tell who we are to the service, and what our key may do",
    .run = whoami_run,
};
