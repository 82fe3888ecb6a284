#include "tools/cli/list.h"

#include <stdlib.h>
#include <string.h>

/* Not before something was answered: a failed call leaves stdout empty. */
static void print_heading(struct list *list)
{
    if (!list->headed && !list->array)
        fputs(list->heading, stdout);
    list->headed = true;
}

void list_item(struct list *list, const ProtobufCMessage *item)
{
    if (list->array) {
        (void)json_append_message(list->array, item);
        return;
    }
    print_heading(list);
    list->print_row(item);
}

char *list_next(const char *next_page_token)
{
    return next_page_token[0] ? strdup(next_page_token) : NULL;
}

static int fetch_all(struct list *list, struct crownest_error *error)
{
    char *token = NULL;
    int result;

    do {
        char *next = NULL;

        result = list->fetch(list, token ? token : "", &next, error);
        free(token);
        token = result ? NULL : next;
    } while (token);
    return result;
}

int list_print(struct list *list, const struct connect_flags *connect, bool as_json)
{
    struct crownest_error error;
    int code = EXIT_OK;

    list->client = connect_client(list->command, connect);
    if (!list->client)
        return EXIT_FAILED;
    list->array = as_json ? json_array() : NULL;
    if (fetch_all(list, &error))
        code = connect_failed(list->command, list->client, &error);
    else
        print_heading(list);
    if (!code && list->array && json_print(json_incref(list->array), stdout))
        code = EXIT_FAILED;
    json_decref(list->array);
    crownest_client_free(list->client);
    return fflush(stdout) ? EXIT_FAILED : code;
}

int list_main(struct list *list, int argc, char **argv)
{
    struct connect_flags connect = {0};
    bool as_json = false;
    const struct flag flags[] = {
        {.name = "json", .kind = FLAG_SWITCH, .value = &as_json, .help = "print them as JSON"},
        CONNECT_FLAGS(&connect),
    };
    int first;
    enum flags_result parsed = FLAGS_PARSE(list->command, flags, argc, argv, &first);

    if (parsed != FLAGS_OK)
        return parsed == FLAGS_HELP ? EXIT_OK : EXIT_USAGE;
    if (argc - first > (list->takes_operand ? 1 : 0))
        return flags_mistake(list->command, list->takes_operand ? "takes one sandbox at most"
                                                                : "takes no operands");
    if (list->takes_operand)
        list->context = argc > first ? argv[first] : (char *)"";
    return list_print(list, &connect, as_json);
}
