#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bindings/c/crownest_bucket.h"
#include "tools/cli/list.h"
#include "tools/cli/text.h"

#define WARNINGS_MAX 10
#define CAP_MAX INT64_MAX

static const char *const periods[] = {NULL, "day", "month", "total"};
static const char *const actions[] = {NULL, "end", "pause"};

/* What a bucket is to be, or to become. */
struct change {
    char request_id[CROWNEST_REQUEST_ID_SIZE];
    char *operand; /* its name, or its id */
    const char *key_id;
    const char *sandbox_id;
    const char *period;
    const char *on_empty;
    uint64_t cap;
    struct flag_list warnings;
    uint32_t percents[WARNINGS_MAX];
    bool as_json;
};

static int word_of(const char *word, const char *const *words, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        if (strcmp(word, words[i]) == 0)
            return (int)i;
    }
    return word[0] ? -1 : 0;
}

#define WORD_OF(word, words) word_of(word, words, sizeof(words) / sizeof((words)[0]))

static int print_bucket(Crownest__V1__Bucket *bucket, bool as_json)
{
    if (as_json)
        return json_print(json_from_message(&bucket->base), stdout) ? EXIT_FAILED : EXIT_OK;
    return puts(bucket->bucket_id) == EOF ? EXIT_FAILED : EXIT_OK;
}

static int call_create(struct crownest_client *client, struct change *change, int *ret_code,
                       struct crownest_error *ret_error)
{
    Crownest__V1__CreateBucketRequest request = CROWNEST__V1__CREATE_BUCKET_REQUEST__INIT;
    Crownest__V1__CreateBucketResponse *response;

    request.request_id = change->request_id;
    request.name = change->operand;
    request.key_id = (char *)(uintptr_t)change->key_id;
    request.sandbox_id = (char *)(uintptr_t)change->sandbox_id;
    request.period = (Crownest__V1__BucketPeriod)WORD_OF(change->period, periods);
    request.on_empty = (Crownest__V1__BucketAction)WORD_OF(change->on_empty, actions);
    request.cap_unit_seconds = (int64_t)change->cap;
    request.warn_at_percent = change->percents;
    request.n_warn_at_percent = change->warnings.count;
    int result = crownest_bucket_create(client, &request, NULL, &response, ret_error);

    if (result)
        return result;
    *ret_code = print_bucket(response->bucket, change->as_json);
    crownest__v1__create_bucket_response__free_unpacked(response, NULL);
    return 0;
}

static int call_update(struct crownest_client *client, struct change *change, int *ret_code,
                       struct crownest_error *ret_error)
{
    Crownest__V1__UpdateBucketRequest request = CROWNEST__V1__UPDATE_BUCKET_REQUEST__INIT;
    Crownest__V1__UpdateBucketResponse *response;

    request.request_id = change->request_id;
    request.bucket_id = change->operand;
    request.on_empty = (Crownest__V1__BucketAction)WORD_OF(change->on_empty, actions);
    request.cap_unit_seconds = (int64_t)change->cap;
    request.warn_at_percent = change->percents;
    request.n_warn_at_percent = change->warnings.count;
    int result = crownest_bucket_update(client, &request, NULL, &response, ret_error);

    if (result)
        return result;
    *ret_code = print_bucket(response->bucket, change->as_json);
    crownest__v1__update_bucket_response__free_unpacked(response, NULL);
    return 0;
}

/* What is wrong with the values of the flags, or NULL. */
static const char *check(struct change *change)
{
    if (WORD_OF(change->period, periods) < 0)
        return "takes a --period of day, month or total";
    if (WORD_OF(change->on_empty, actions) < 0)
        return "takes --on-empty end or --on-empty pause";
    if (change->warnings.count > WARNINGS_MAX)
        return "takes at most 10 warnings";
    for (size_t i = 0; i < change->warnings.count; i++) {
        uint64_t percent;

        if (flags_number(change->warnings.items[i], 99, &percent) < 0)
            return "takes a --warn-at of 1 to 99 percent";
        change->percents[i] = (uint32_t)percent;
    }
    return NULL;
}

static int
finish(const struct command *command, const struct connect_flags *connect, struct change *change,
       int (*call)(struct crownest_client *, struct change *, int *, struct crownest_error *))
{
    struct crownest_error error;
    const char *mistake = check(change);
    int code;

    if (mistake)
        return flags_mistake(command, "%s", mistake);
    struct crownest_client *client = connect_client(command, connect);

    if (!client)
        return EXIT_FAILED;
    crownest_request_id(change->request_id);
    if (call(client, change, &code, &error))
        code = connect_failed(command, client, &error);
    crownest_client_free(client);
    return code;
}

/* The flags that `create` and `update` share. */
#define CHANGE_FLAGS(change)                                                                       \
    {.name = "cap",                                                                                \
     .kind = FLAG_NUMBER,                                                                          \
     .value = &(change)->cap,                                                                      \
     .operand = "SECONDS",                                                                         \
     .help = "compute unit seconds that it holds",                                                 \
     .max = CAP_MAX},                                                                              \
        {.name = "on-empty",                                                                       \
         .kind = FLAG_TEXT,                                                                        \
         .value = &(change)->on_empty,                                                             \
         .operand = "ACTION",                                                                      \
         .help = "what becomes of its sandboxes: end or pause (new: end)"},                        \
        {.name = "warn-at",                                                                        \
         .kind = FLAG_LIST,                                                                        \
         .value = &(change)->warnings,                                                             \
         .operand = "PERCENT",                                                                     \
         .help = "warn when so much is spent (new: 50, 80 and 95)"},                               \
    {                                                                                              \
        .name = "json", .kind = FLAG_SWITCH, .value = &(change)->as_json,                          \
        .help = "print it as JSON"                                                                 \
    }

static int create_run(const struct command *command, int argc, char **argv)
{
    struct connect_flags connect = {0};
    struct change change = {.key_id = "", .sandbox_id = "", .period = "total", .on_empty = ""};
    const struct flag flags[] = {
        {.name = "key",
         .kind = FLAG_TEXT,
         .value = &change.key_id,
         .operand = "KEY",
         .help = "only for what this key creates"},
        {.name = "sandbox",
         .kind = FLAG_TEXT,
         .value = &change.sandbox_id,
         .operand = "SANDBOX",
         .help = "only for this sandbox"},
        {.name = "period",
         .kind = FLAG_TEXT,
         .value = &change.period,
         .operand = "PERIOD",
         .help = "day, month or total (total)"},
        CHANGE_FLAGS(&change),
        CONNECT_FLAGS(&connect),
    };
    int first;
    enum flags_result parsed = FLAGS_PARSE(command, flags, argc, argv, &first);

    if (parsed != FLAGS_OK)
        return parsed == FLAGS_HELP ? EXIT_OK : EXIT_USAGE;
    if (argc - first != 1)
        return flags_mistake(command, "needs one name");
    if (change.cap == 0)
        return flags_mistake(command, "needs --cap SECONDS");
    change.operand = argv[first];
    return finish(command, &connect, &change, call_create);
}

static int update_run(const struct command *command, int argc, char **argv)
{
    struct connect_flags connect = {0};
    struct change change = {.period = "", .on_empty = ""};
    const struct flag flags[] = {
        CHANGE_FLAGS(&change),
        CONNECT_FLAGS(&connect),
    };
    int first;
    enum flags_result parsed = FLAGS_PARSE(command, flags, argc, argv, &first);

    if (parsed != FLAGS_OK)
        return parsed == FLAGS_HELP ? EXIT_OK : EXIT_USAGE;
    if (argc - first != 1)
        return flags_mistake(command, "needs the id of one bucket");
    change.operand = argv[first];
    return finish(command, &connect, &change, call_update);
}

static void print_row(const ProtobufCMessage *item)
{
    const Crownest__V1__Bucket *bucket = (const Crownest__V1__Bucket *)item;
    char name[44];
    char until[TEXT_TIME_SIZE];
    const char *period = (size_t)bucket->period < sizeof(periods) / sizeof(periods[0])
                             ? periods[bucket->period]
                             : NULL;

    text_format(bucket->name, name, sizeof(name));
    text_time(bucket->empty_time, until);
    printf("%-30s  %-20s  %-5s  %15.3f  %15" PRId64 "  %s\n", bucket->bucket_id, name,
           period ? period : "-", (double)bucket->spent_unit_usec / 1e6, bucket->cap_unit_seconds,
           bucket->empty ? "now" : until);
}

static int fetch(struct list *list, const char *page_token, char **ret_next,
                 struct crownest_error *ret_error)
{
    Crownest__V1__ListBucketsRequest request = CROWNEST__V1__LIST_BUCKETS_REQUEST__INIT;
    Crownest__V1__ListBucketsResponse *page;

    request.page_token = (char *)page_token;
    int result = crownest_bucket_list(list->client, &request, NULL, &page, ret_error);
    if (result)
        return result;
    for (size_t i = 0; i < page->n_buckets; i++)
        list_item(list, &page->buckets[i]->base);
    *ret_next = list_next(page->next_page_token);
    crownest__v1__list_buckets_response__free_unpacked(page, NULL);
    return 0;
}

static int list_run(const struct command *command, int argc, char **argv)
{
    struct list list = {
        .command = command,
        .heading = "BUCKET                          NAME                  LASTS            SPENT"
                   "              CAP  EMPTY\n",
        .print_row = print_row,
        .fetch = fetch,
    };

    return list_main(&list, argc, argv);
}

static int delete_one(const struct command *command, struct crownest_client *client, char *id)
{
    Crownest__V1__DeleteBucketRequest request = CROWNEST__V1__DELETE_BUCKET_REQUEST__INIT;
    Crownest__V1__DeleteBucketResponse *response;
    char request_id[CROWNEST_REQUEST_ID_SIZE];
    struct crownest_error error;

    crownest_request_id(request_id);
    request.request_id = request_id;
    request.bucket_id = id;
    if (crownest_bucket_delete(client, &request, NULL, &response, &error))
        return connect_failed(command, client, &error);
    crownest__v1__delete_bucket_response__free_unpacked(response, NULL);
    return EXIT_OK;
}

static int delete_run(const struct command *command, int argc, char **argv)
{
    return connect_each(command, argc, argv, "a bucket", delete_one);
}

const struct command command_buckets_create = {
    .name = "buckets create",
    .operands = "NAME",
    .summary = "create a budget with a hard cap and print its id (operators)",
    .run = create_run,
};

const struct command command_buckets_update = {
    .name = "buckets update",
    .operands = "BUCKET",
    .summary = "change a bucket and print its id (operators)",
    .run = update_run,
};

const struct command command_buckets_list = {
    .name = "buckets list",
    .operands = "",
    .summary = "list the project's buckets, with what is spent of them",
    .run = list_run,
};

const struct command command_buckets_delete = {
    .name = "buckets delete",
    .operands = "BUCKET...",
    .summary = "delete buckets (operators)",
    .run = delete_run,
};
