#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bindings/c/crownest_audit.h"
#include "tools/cli/audit_check.h"
#include "tools/cli/list.h"
#include "tools/cli/retry.h"
#include "tools/cli/text.h"

#define PAGE 200

struct filter_flags {
    struct connect_flags connect;
    const char *actor;
    const char *resource;
    const char *action;
    bool denied;
    bool all_projects;
    bool as_json;
    uint64_t limit;
    uint64_t after;
    bool live;
};

static const char *outcome_word(Crownest__V1__AuditOutcome outcome)
{
    switch (outcome) {
    case CROWNEST__V1__AUDIT_OUTCOME__AUDIT_OUTCOME_OK:
        return "ok";
    case CROWNEST__V1__AUDIT_OUTCOME__AUDIT_OUTCOME_DENIED:
        return "denied";
    case CROWNEST__V1__AUDIT_OUTCOME__AUDIT_OUTCOME_FAILED:
        return "failed";
    case CROWNEST__V1__AUDIT_OUTCOME__AUDIT_OUTCOME_BEGUN:
        return "begun";
    default:
        return "-";
    }
}

static void print_row(const ProtobufCMessage *item)
{
    const Crownest__V1__AuditEntry *entry = (const Crownest__V1__AuditEntry *)item;
    char when[TEXT_TIME_SIZE];
    char detail[128];

    text_time(entry->time, when);
    text_format(entry->detail, detail, sizeof(detail));
    printf("%8" PRIu64 "  %-20s  %-30s  %-17s  %-6s  %-30s  %s%s%s\n", entry->sequence, when,
           entry->actor, entry->action, outcome_word(entry->outcome),
           entry->resource_id[0] ? entry->resource_id : "-", entry->reason,
           entry->reason[0] && detail[0] ? ": " : "", detail);
}

static const char *text_or_empty(const char *text)
{
    return text ? text : "";
}

static int fetch(struct list *list, const char *page_token, char **ret_next,
                 struct crownest_error *ret_error)
{
    struct filter_flags *values = list->context;
    Crownest__V1__ListAuditRequest request = CROWNEST__V1__LIST_AUDIT_REQUEST__INIT;
    Crownest__V1__ListAuditResponse *page;

    request.page_token = (char *)page_token;
    request.page_size = (uint32_t)(values->limit < PAGE ? values->limit : PAGE);
    request.actor = (char *)text_or_empty(values->actor);
    request.resource_id = (char *)text_or_empty(values->resource);
    request.action = (char *)text_or_empty(values->action);
    request.all_projects = values->all_projects;
    if (values->denied)
        request.outcome = CROWNEST__V1__AUDIT_OUTCOME__AUDIT_OUTCOME_DENIED;
    int result = crownest_audit_list(list->client, &request, NULL, &page, ret_error);

    if (result)
        return result;
    for (size_t i = 0; i < page->n_entries; i++)
        list_item(list, &page->entries[i]->base);
    values->limit -= page->n_entries < values->limit ? page->n_entries : values->limit;
    *ret_next = values->limit ? list_next(page->next_page_token) : NULL;
    crownest__v1__list_audit_response__free_unpacked(page, NULL);
    return 0;
}

#define FILTER_FLAGS(values)                                                                       \
    {.name = "resource",                                                                           \
     .kind = FLAG_TEXT,                                                                            \
     .value = &(values)->resource,                                                                 \
     .operand = "ID",                                                                              \
     .help = "about this alone; of a sandbox: also about what is in it"},                          \
        {.name = "action",                                                                         \
         .kind = FLAG_TEXT,                                                                        \
         .value = &(values)->action,                                                               \
         .operand = "ACTION",                                                                      \
         .help = "such as sandbox.create, or sandbox for all of a noun"},                          \
        {.name = "all-projects",                                                                   \
         .kind = FLAG_SWITCH,                                                                      \
         .value = &(values)->all_projects,                                                         \
         .help = "operators: of every project, and of none"},                                      \
        {.name = "json", .kind = FLAG_SWITCH, .value = &(values)->as_json, .help = "print JSON"},  \
        CONNECT_FLAGS(&(values)->connect)

static int list_run(const struct command *command, int argc, char **argv)
{
    struct filter_flags values = {.limit = 50};
    const struct flag flags[] = {
        {.name = "actor",
         .kind = FLAG_TEXT,
         .value = &values.actor,
         .operand = "ACTOR",
         .help = "a key's id, operator:NAME, visitor, anonymous or system"},
        {.name = "denied", .kind = FLAG_SWITCH, .value = &values.denied, .help = "refusals alone"},
        {.name = "limit",
         .letter = 'n',
         .kind = FLAG_NUMBER,
         .value = &values.limit,
         .operand = "N",
         .help = "at most so many (50)",
         .max = 1000000},
        FILTER_FLAGS(&values),
    };
    struct list list = {
        .command = command,
        .heading = "  NUMBER  TIME                  ACTOR                           ACTION        "
                   "     OUTCOME RESOURCE                        WHY\n",
        .print_row = print_row,
        .fetch = fetch,
        .context = &values,
    };
    int first;
    enum flags_result parsed = FLAGS_PARSE(command, flags, argc, argv, &first);

    if (parsed != FLAGS_OK)
        return parsed == FLAGS_HELP ? EXIT_OK : EXIT_USAGE;
    if (argc != first || values.limit == 0)
        return flags_mistake(command, argc != first ? "takes no operands" : "--limit is 1 or more");
    return list_print(&list, &values.connect, values.as_json);
}

/* Following */

static int print_watched(const struct filter_flags *values, const Crownest__V1__AuditEntry *entry)
{
    if (!values->as_json) {
        print_row(&entry->base);
        return fflush(stdout) ? -errno : 0;
    }
    json_t *value = json_from_message(&entry->base);
    int r = value && json_dumpf(value, stdout, JSON_COMPACT) == 0 && putchar('\n') != EOF &&
                    fflush(stdout) == 0
                ? 0
                : -EIO;

    json_decref(value);
    return r;
}

/* Until the stream ends. Returns 1 when stdout takes no more. */
static int watch_once(struct crownest_client *client, struct filter_flags *values,
                      struct retry *retry, struct crownest_error *error)
{
    Crownest__V1__WatchAuditRequest request = CROWNEST__V1__WATCH_AUDIT_REQUEST__INIT;
    Crownest__V1__WatchAuditResponse *response;
    struct crownest_audit_watch_reader *reader;
    char *actions[] = {(char *)text_or_empty(values->action)};

    request.after_sequence = values->after;
    request.live_only = values->live;
    request.actions = actions;
    request.n_actions = values->action ? 1 : 0;
    request.resource_id = (char *)text_or_empty(values->resource);
    request.all_projects = values->all_projects;
    int r = crownest_audit_watch_open(client, &request, NULL, &reader, error);

    if (r < 0)
        return r;
    while ((r = crownest_audit_watch_next(reader, &response, error)) > 0) {
        retry_reset(retry);
        values->after = response->sequence;
        values->live = values->after == 0;
        bool printed = !response->entry || print_watched(values, response->entry) == 0;

        crownest__v1__watch_audit_response__free_unpacked(response, NULL);
        if (!printed)
            break;
    }
    crownest_audit_watch_free(reader);
    return r;
}

static int watch(const struct command *command, struct filter_flags *values)
{
    struct retry retry = RETRY(RETRY_WINDOW_MS);
    struct crownest_error error;
    struct crownest_client *client = connect_client(command, &values->connect);
    int code = EXIT_FAILED;

    if (!client)
        return EXIT_FAILED;
    int r = watch_once(client, values, &retry, &error);

    while (r < 0 && retry_helps(&error) && retry_again(&retry, &error))
        r = watch_once(client, values, &retry, &error);
    if (r < 0)
        code = connect_failed(command, client, &error);
    crownest_client_free(client);
    return code;
}

static int watch_run(const struct command *command, int argc, char **argv)
{
    struct filter_flags values = {0};
    bool from_start = false;
    const struct flag flags[] = {
        {.name = "after",
         .kind = FLAG_NUMBER,
         .value = &values.after,
         .operand = "NUMBER",
         .help = "begin behind this entry",
         .max = INT64_MAX},
        {.name = "from-start",
         .kind = FLAG_SWITCH,
         .value = &from_start,
         .help = "begin with the first entry instead of those to come"},
        FILTER_FLAGS(&values),
    };
    int first;
    enum flags_result parsed = FLAGS_PARSE(command, flags, argc, argv, &first);

    if (parsed != FLAGS_OK)
        return parsed == FLAGS_HELP ? EXIT_OK : EXIT_USAGE;
    if (argc != first)
        return flags_mistake(command, "takes no operands");
    if (from_start && values.after)
        return flags_mistake(command, "takes --after or --from-start, not both");
    values.live = !from_start && values.after == 0;
    return watch(command, &values);
}

/* Exporting */

static int export_to(const struct command *command, struct crownest_client *client, FILE *out)
{
    Crownest__V1__ExportAuditRequest request = CROWNEST__V1__EXPORT_AUDIT_REQUEST__INIT;
    Crownest__V1__ExportAuditResponse *response;
    struct crownest_audit_export_reader *reader;
    struct crownest_error error;
    int r = crownest_audit_export_open(client, &request, NULL, &reader, &error);
    bool written = true;

    if (r < 0)
        return connect_failed(command, client, &error);
    while (written && (r = crownest_audit_export_next(reader, &response, &error)) > 0) {
        written = fwrite(response->data.data, 1, response->data.len, out) == response->data.len;
        crownest__v1__export_audit_response__free_unpacked(response, NULL);
    }
    crownest_audit_export_free(reader);
    if (r < 0)
        return connect_failed(command, client, &error);
    if (!written || fflush(out)) {
        fprintf(stderr, "crownest audit export: cannot write: %s\n", strerror(errno));
        return EXIT_FAILED;
    }
    return EXIT_OK;
}

static int export_run(const struct command *command, int argc, char **argv)
{
    struct connect_flags connect = {0};
    const struct flag flags[] = {CONNECT_FLAGS(&connect)};
    int first;
    enum flags_result parsed = FLAGS_PARSE(command, flags, argc, argv, &first);

    if (parsed != FLAGS_OK)
        return parsed == FLAGS_HELP ? EXIT_OK : EXIT_USAGE;
    if (argc != first)
        return flags_mistake(command, "takes no operands; it writes to stdout");
    struct crownest_client *client = connect_client(command, &connect);

    if (!client)
        return EXIT_FAILED;
    int code = export_to(command, client, stdout);

    crownest_client_free(client);
    return code;
}

static void print_key(const uint8_t *key)
{
    for (size_t i = 0; i < SIGNER_KEY_SIZE; i++)
        printf("%02x", key[i]);
}

static int key_run(const struct command *command, int argc, char **argv)
{
    Crownest__V1__GetAuditKeyRequest request = CROWNEST__V1__GET_AUDIT_KEY_REQUEST__INIT;
    Crownest__V1__GetAuditKeyResponse *response;
    struct connect_flags connect = {0};
    const struct flag flags[] = {CONNECT_FLAGS(&connect)};
    struct crownest_error error;
    int first;
    enum flags_result parsed = FLAGS_PARSE(command, flags, argc, argv, &first);

    if (parsed != FLAGS_OK)
        return parsed == FLAGS_HELP ? EXIT_OK : EXIT_USAGE;
    if (argc != first)
        return flags_mistake(command, "takes no operands");
    struct crownest_client *client = connect_client(command, &connect);
    int code = EXIT_OK;

    if (!client)
        return EXIT_FAILED;
    if (crownest_audit_get_key(client, &request, NULL, &response, &error)) {
        code = connect_failed(command, client, &error);
    } else {
        if (response->public_key.len == SIGNER_KEY_SIZE)
            print_key(response->public_key.data);
        putchar('\n');
        crownest__v1__get_audit_key_response__free_unpacked(response, NULL);
    }
    crownest_client_free(client);
    return code;
}

/* Verifying */

static int print_verdict(const struct audit_check *check)
{
    printf("entries: %" PRIu64 ", %" PRIu64 " to %" PRIu64 ", each follows from the one before\n",
           check->last - check->first + 1, check->first, check->last);
    if (check->last_signed == 0) {
        printf("no checkpoint: nobody has signed them\n");
        return check->pinned ? EXIT_FAILED : EXIT_OK;
    }
    printf("checkpoints: %" PRIu64 ", up to entry %" PRIu64 ", signed with ", check->checkpoints,
           check->last_signed);
    print_key(check->keys[0]);
    printf("%s\n", check->pinned ? "" : " (compare it with `crownest audit key`)");
    if (check->last_signed == check->last)
        return EXIT_OK;
    printf("no checkpoint behind entry %" PRIu64 ": what follows is not signed, and entries may "
           "be missing at the end\n",
           check->last_signed);
    return check->pinned ? EXIT_FAILED : EXIT_OK;
}

static int verify(const struct command *command, struct audit_check *check, const char *path)
{
    bool is_stdin = !strcmp(path, "-");
    FILE *in = is_stdin ? stdin : fopen(path, "re");

    if (!in) {
        fprintf(stderr, "crownest %s: %s: %s\n", command->name, path, strerror(errno));
        return EXIT_FAILED;
    }
    int r = audit_check_file(check, in);

    if (!is_stdin)
        (void)fclose(in);
    if (r == -EBADMSG)
        fprintf(stderr, "crownest %s: %s: %s\n", command->name, path, check->wrong);
    else if (r < 0)
        fprintf(stderr, "crownest %s: %s: %s\n", command->name, path, strerror(-r));
    else if (check->first == 0)
        fprintf(stderr, "crownest %s: %s: holds no entries\n", command->name, path);
    return r < 0 || check->first == 0 ? EXIT_FAILED : print_verdict(check);
}

static int verify_run(const struct command *command, int argc, char **argv)
{
    static struct flag_list keys;
    struct audit_check check = {0};
    const struct flag flags[] = {
        {.name = "key",
         .kind = FLAG_LIST,
         .value = &keys,
         .operand = "HEX",
         .help = "checkpoints must be signed with this; may be repeated"},
    };
    int first;
    enum flags_result parsed = FLAGS_PARSE(command, flags, argc, argv, &first);

    if (parsed != FLAGS_OK)
        return parsed == FLAGS_HELP ? EXIT_OK : EXIT_USAGE;
    if (argc - first != 1)
        return flags_mistake(command, "needs one file; - is stdin");
    for (size_t i = 0; i < keys.count; i++) {
        if (audit_check_add_key(&check, keys.items[i]) < 0)
            return flags_mistake(command, "--key is 64 hexadecimal digits, at most %d of them",
                                 AUDIT_KEYS_MAX);
    }
    return verify(command, &check, argv[first]);
}

const struct command command_audit_list = {
    .name = "audit list",
    .operands = "",
    .summary = "what was done, and refused, newest first",
    .run = list_run,
};

const struct command command_audit_watch = {
    .name = "audit watch",
    .operands = "",
    .summary = "the same as it happens; goes on where it was after a restart of the service",
    .run = watch_run,
};

const struct command command_audit_export = {
    .name = "audit export",
    .operands = "",
    .summary = "write the whole chain as JSON lines, signed at its end (operators)",
    .run = export_run,
};

const struct command command_audit_key = {
    .name = "audit key",
    .operands = "",
    .summary = "print the key that signs checkpoints (operators)",
    .manual = "Keep it where the service's host cannot change it, for `audit verify --key`.\n",
    .run = key_run,
};

const struct command command_audit_verify = {
    .name = "audit verify",
    .operands = "FILE",
    .summary = "check an export, on any machine, without a service",
    .manual =
        "Says which entry is the first that was changed, exchanged or taken away. Without --key\n"
        "it cannot know whether somebody has made the whole file anew; with --key it also fails\n"
        "when the end is not signed. Exit code 1 means that the file is not to be trusted.\n",
    .run = verify_run,
};
