#include <inttypes.h>
#include <string.h>

#include "bindings/c/crownest_command.h"
#include "bindings/c/crownest_sandbox.h"
#include "tools/cli/list.h"
#include "tools/cli/text.h"

/* "SANDBOX_STATE_RUNNING" → "RUNNING". */
static const char *enum_word(const ProtobufCEnumDescriptor *type, int number, size_t prefix_len)
{
    const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(type, number);

    return value && number ? value->name + prefix_len : "-";
}

static void print_sandbox(const ProtobufCMessage *item)
{
    const Crownest__V1__Sandbox *sandbox = (const Crownest__V1__Sandbox *)item;
    char template[40];
    char created[TEXT_TIME_SIZE];
    char ends[TEXT_TIME_SIZE];

    text_format(sandbox->template_, template, sizeof(template));
    text_time(sandbox->create_time, created);
    text_time(sandbox->end_time ? sandbox->end_time : sandbox->expire_time, ends);
    printf("%-30s  %-16s  %-8s  %-20s  %-20s  %s\n", sandbox->sandbox_id, template,
           enum_word(&crownest__v1__sandbox_state__descriptor, (int)sandbox->state,
                     sizeof("SANDBOX_STATE_") - 1),
           created, ends,
           enum_word(&crownest__v1__end_cause__descriptor, (int)sandbox->end_cause,
                     sizeof("END_CAUSE_") - 1));
}

/* The states of those that live, which are listed one after the other. */
static const Crownest__V1__SandboxState living[] = {
    CROWNEST__V1__SANDBOX_STATE__SANDBOX_STATE_RUNNING,
    CROWNEST__V1__SANDBOX_STATE__SANDBOX_STATE_PAUSED,
    CROWNEST__V1__SANDBOX_STATE__SANDBOX_STATE_CREATING,
};

#define LIVING_COUNT (sizeof(living) / sizeof(living[0]))

struct choice {
    bool all;        /* ended ones, too */
    bool why;        /* with what keeps them alive */
    size_t state_at; /* which of `living` is being listed */
};

static void print_why(const Crownest__V1__SandboxStatsResponse *stats)
{
    for (size_t i = 0; i < stats->n_kept_by; i++) {
        (void)fputs("    ", stdout);
        text_print(stats->kept_by[i], stdout);
        putchar('\n');
    }
}

/* What keeps it alive, below its row or in its object. One that has just ended has nothing that
 * does. */
static void add_why(struct list *list, const Crownest__V1__Sandbox *sandbox)
{
    Crownest__V1__SandboxStatsRequest request = CROWNEST__V1__SANDBOX_STATS_REQUEST__INIT;
    Crownest__V1__SandboxStatsResponse *stats;
    struct crownest_error error;

    request.sandbox_id = sandbox->sandbox_id;
    if (crownest_sandbox_stats(list->client, &request, NULL, &stats, &error))
        return;
    if (list->array) {
        json_t *as_json = json_from_message(&stats->base);
        json_t *item = json_array_get(list->array, json_array_size(list->array) - 1);

        (void)json_object_set(item, "keptBy", json_object_get(as_json, "keptBy"));
        json_decref(as_json);
    } else {
        print_why(stats);
    }
    crownest__v1__sandbox_stats_response__free_unpacked(stats, NULL);
}

/* The page behind this one, or the first one of the next state. */
static char *next_page(struct choice *choice, const char *next_page_token)
{
    if (next_page_token[0] || choice->all || ++choice->state_at == LIVING_COUNT)
        return list_next(next_page_token);
    return strdup("");
}

/* context: a struct choice. */
static int fetch_sandboxes(struct list *list, const char *page_token, char **ret_next,
                           struct crownest_error *ret_error)
{
    Crownest__V1__ListSandboxesRequest request = CROWNEST__V1__LIST_SANDBOXES_REQUEST__INIT;
    Crownest__V1__ListSandboxesResponse *page;
    struct choice *choice = list->context;

    request.page_token = (char *)page_token;
    if (!choice->all)
        request.state = living[choice->state_at];
    int result = crownest_sandbox_list(list->client, &request, NULL, &page, ret_error);
    if (result)
        return result;
    for (size_t i = 0; i < page->n_sandboxes; i++) {
        list_item(list, &page->sandboxes[i]->base);
        if (choice->why && !page->sandboxes[i]->end_time)
            add_why(list, page->sandboxes[i]);
    }
    *ret_next = next_page(choice, page->next_page_token);
    crownest__v1__list_sandboxes_response__free_unpacked(page, NULL);
    return 0;
}

static void print_exit(const Crownest__V1__Command *item, char *out, size_t size)
{
    if (item->exit_cause == CROWNEST__V1__EXIT_CAUSE__EXIT_CAUSE_EXITED)
        (void)snprintf(out, size, "exit %" PRId32, item->exit_code);
    else if (item->exit_cause == CROWNEST__V1__EXIT_CAUSE__EXIT_CAUSE_SIGNALED)
        (void)snprintf(out, size, "signal %" PRId32, item->signal);
    else if (!item->end_time)
        (void)snprintf(out, size, "running");
    else
        (void)snprintf(out, size, "%s",
                       enum_word(&crownest__v1__exit_cause__descriptor, (int)item->exit_cause,
                                 sizeof("EXIT_CAUSE_") - 1));
}

static void print_command(const ProtobufCMessage *message)
{
    const Crownest__V1__Command *item = (const Crownest__V1__Command *)message;
    char started[TEXT_TIME_SIZE];
    char end[24];

    text_time(item->start_time, started);
    print_exit(item, end, sizeof(end));
    printf("%-30s  %-14s  %-20s  %10" PRIu64 " ", item->command_id, end, started, item->log_bytes);
    for (size_t i = 0; i < item->n_argv; i++) {
        putchar(' ');
        text_print(item->argv[i], stdout);
    }
    putchar('\n');
}

/* context: the sandbox's id. */
static int fetch_commands(struct list *list, const char *page_token, char **ret_next,
                          struct crownest_error *ret_error)
{
    Crownest__V1__ListCommandsRequest request = CROWNEST__V1__LIST_COMMANDS_REQUEST__INIT;
    Crownest__V1__ListCommandsResponse *page;

    request.page_token = (char *)page_token;
    request.sandbox_id = list->context;
    int result = crownest_command_list(list->client, &request, NULL, &page, ret_error);
    if (result)
        return result;
    for (size_t i = 0; i < page->n_commands; i++)
        list_item(list, &page->commands[i]->base);
    *ret_next = list_next(page->next_page_token);
    crownest__v1__list_commands_response__free_unpacked(page, NULL);
    return 0;
}

static int ps_run(const struct command *command, int argc, char **argv)
{
    struct connect_flags connect = {0};
    bool as_json = false;
    struct choice choice = {0};
    const struct flag flags[] = {
        {.name = "all",
         .letter = 'a',
         .kind = FLAG_SWITCH,
         .value = &choice.all,
         .help = "ended sandboxes, too"},
        {.name = "why",
         .kind = FLAG_SWITCH,
         .value = &choice.why,
         .help = "with what keeps each alive"},
        {.name = "json", .kind = FLAG_SWITCH, .value = &as_json, .help = "print them as JSON"},
        CONNECT_FLAGS(&connect),
    };
    struct list list = {
        .command = command,
        .heading = "SANDBOX                         TEMPLATE          STATE     CREATED           "
                   "    ENDS                  CAUSE\n",
        .print_row = print_sandbox,
        .fetch = fetch_sandboxes,
        .context = &choice,
    };
    int first;
    enum flags_result parsed = FLAGS_PARSE(command, flags, argc, argv, &first);

    if (parsed != FLAGS_OK)
        return parsed == FLAGS_HELP ? EXIT_OK : EXIT_USAGE;
    if (argc - first > 1)
        return flags_mistake(command, "takes one sandbox at most");
    if (choice.why && argc > first)
        return flags_mistake(command, "takes --why for sandboxes, not for their commands");
    if (argc > first) {
        list.heading = "COMMAND                         STATE           STARTED                "
                       "LOG BYTES  ARGV\n";
        list.print_row = print_command;
        list.fetch = fetch_commands;
        list.context = argv[first];
    }
    return list_print(&list, &connect, as_json);
}

const struct command command_ps = {
    .name = "ps",
    .operands = "[SANDBOX]",
    .summary = "list the sandboxes that live, or one sandbox's commands",
    .run = ps_run,
};
