#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "bindings/c/crownest_usage.h"
#include "tools/cli/connect.h"
#include "tools/cli/json.h"
#include "tools/cli/money.h"
#include "tools/cli/text.h"

#define DAY_S 86400
#define DAYS_MAX 399

static int group_of(const char *name, Crownest__V1__UsageGroup *ret_group)
{
    static const char *const names[] = {"", "day", "key", "sandbox"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(name, names[i]) == 0) {
            *ret_group = (Crownest__V1__UsageGroup)i;
            return 0;
        }
    }
    return -1;
}

static void print_row(const char *name, const Crownest__V1__Usage *usage)
{
    char amount[MONEY_SIZE];

    money_format(usage->amount_usd_micros, amount);
    printf("%-30s  %9" PRIu64 "  %14.3f  %14s  %12" PRIu64 "  %14" PRIu64 "  %12" PRIu64 "\n", name,
           usage->sandboxes, (double)usage->compute_unit_usec / 1e6, amount, usage->log_bytes,
           usage->artifact_bytes, usage->egress_bytes);
}

static void print_usage(const Crownest__V1__GetUsageResponse *response,
                        Crownest__V1__UsageGroup group)
{
    printf("%-30s  %9s  %14s  %14s  %12s  %14s  %12s\n", "", "SANDBOXES", "UNIT SECONDS", "US$",
           "LOG BYTES", "ARTIFACT BYTES", "EGRESS BYTES");
    for (size_t i = 0; group && i < response->n_groups; i++) {
        const Crownest__V1__Usage *usage = response->groups[i];
        const char *name = group == CROWNEST__V1__USAGE_GROUP__USAGE_GROUP_DAY ? usage->day
                           : group == CROWNEST__V1__USAGE_GROUP__USAGE_GROUP_KEY
                               ? usage->key_id
                               : usage->sandbox_id;

        print_row(name[0] ? name : "(operators)", usage);
    }
    print_row("total", response->total);
}

struct question {
    Crownest__V1__UsageGroup group;
    uint64_t days;
    char *key_id;
    bool as_json;
};

static int usage(const struct command *command, const struct connect_flags *connect,
                 const struct question *question)
{
    Google__Protobuf__Timestamp start = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    Crownest__V1__GetUsageRequest request = CROWNEST__V1__GET_USAGE_REQUEST__INIT;
    Crownest__V1__GetUsageResponse *response;
    struct crownest_client *client = connect_client(command, connect);
    struct crownest_error error;
    int code = EXIT_OK;

    if (!client)
        return EXIT_FAILED;
    start.seconds = time(NULL) - (int64_t)question->days * DAY_S;
    request.start_time = &start;
    request.group_by = question->group;
    request.key_id = question->key_id;
    if (crownest_usage_get(client, &request, NULL, &response, &error)) {
        code = connect_failed(command, client, &error);
    } else {
        if (!question->as_json)
            print_usage(response, question->group);
        else if (json_print(json_from_message(&response->base), stdout))
            code = EXIT_FAILED;
        crownest__v1__get_usage_response__free_unpacked(response, NULL);
    }
    crownest_client_free(client);
    return fflush(stdout) ? EXIT_FAILED : code;
}

static int usage_run(const struct command *command, int argc, char **argv)
{
    struct connect_flags connect = {0};
    struct question question = {.days = 30};
    const char *by = "";
    const char *key_id = "";
    const struct flag flags[] = {
        {.name = "by",
         .kind = FLAG_TEXT,
         .value = &by,
         .operand = "GROUP",
         .help = "a line for each day, key or sandbox"},
        {.name = "days",
         .kind = FLAG_NUMBER,
         .value = &question.days,
         .operand = "DAYS",
         .help = "from so many days ago on (30)",
         .max = DAYS_MAX},
        {.name = "key",
         .kind = FLAG_TEXT,
         .value = &key_id,
         .operand = "KEY",
         .help = "only what this key created"},
        {.name = "json",
         .kind = FLAG_SWITCH,
         .value = &question.as_json,
         .help = "print it as JSON"},
        CONNECT_FLAGS(&connect),
    };
    int first;
    enum flags_result parsed = FLAGS_PARSE(command, flags, argc, argv, &first);

    if (parsed != FLAGS_OK)
        return parsed == FLAGS_HELP ? EXIT_OK : EXIT_USAGE;
    if (argc > first)
        return flags_mistake(command, "takes no operand");
    if (group_of(by, &question.group) < 0)
        return flags_mistake(command, "groups by day, key or sandbox");
    question.key_id = (char *)(uintptr_t)key_id;
    return usage(command, &connect, &question);
}

static void print_receipt(const Crownest__V1__Receipt *receipt)
{
    char amount[MONEY_SIZE];
    char start[TEXT_TIME_SIZE];
    char end[TEXT_TIME_SIZE];

    for (size_t i = 0; i < receipt->n_intervals; i++) {
        const Crownest__V1__Interval *interval = receipt->intervals[i];

        text_time(interval->start_time, start);
        text_time(interval->end_time, end);
        printf("%-8s  %s  %-20s  %14.6f s\n", interval->paused ? "paused" : "running", start,
               interval->end_time ? end : "goes on", (double)interval->duration_usec / 1e6);
    }
    money_format(receipt->amount_usd_micros, amount);
    printf("%.6f compute unit seconds at %.3f units: US$ %s (pricing ",
           (double)receipt->compute_unit_usec / 1e6, (double)receipt->rate_millis / 1000, amount);
    text_print(receipt->pricing->version, stdout);
    printf(")%s\n", receipt->final ? "" : " so far");
    printf("%" PRIu64 " bytes of logs, %" PRIu64 " of artifacts, %" PRIu64 " sent by previews\n",
           receipt->log_bytes, receipt->artifact_bytes, receipt->egress_bytes);
}

static int receipt(const struct command *command, const struct connect_flags *connect, char *id,
                   bool as_json)
{
    Crownest__V1__GetReceiptRequest request = CROWNEST__V1__GET_RECEIPT_REQUEST__INIT;
    Crownest__V1__GetReceiptResponse *response;
    struct crownest_client *client = connect_client(command, connect);
    struct crownest_error error;
    int code = EXIT_OK;

    if (!client)
        return EXIT_FAILED;
    request.sandbox_id = id;
    if (crownest_usage_get_receipt(client, &request, NULL, &response, &error)) {
        code = connect_failed(command, client, &error);
    } else {
        if (!as_json)
            print_receipt(response->receipt);
        else if (json_print(json_from_message(&response->receipt->base), stdout))
            code = EXIT_FAILED;
        crownest__v1__get_receipt_response__free_unpacked(response, NULL);
    }
    crownest_client_free(client);
    return fflush(stdout) ? EXIT_FAILED : code;
}

static int receipt_run(const struct command *command, int argc, char **argv)
{
    struct connect_flags connect = {0};
    bool as_json = false;
    const struct flag flags[] = {
        {.name = "json", .kind = FLAG_SWITCH, .value = &as_json, .help = "print it as JSON"},
        CONNECT_FLAGS(&connect),
    };
    int first;
    enum flags_result parsed = FLAGS_PARSE(command, flags, argc, argv, &first);

    if (parsed != FLAGS_OK)
        return parsed == FLAGS_HELP ? EXIT_OK : EXIT_USAGE;
    if (argc - first != 1)
        return flags_mistake(command, "needs the id of one sandbox");
    return receipt(command, &connect, argv[first], as_json);
}

/* All pages, or those up to the first problem; `sum` gets what all of them found. */
static int verify(const struct command *command, struct crownest_client *client,
                  Crownest__V1__VerifyUsageResponse *sum)
{
    char *token = strdup("");
    int code = EXIT_OK;

    while (token && code == EXIT_OK && !sum->problem[0]) {
        Crownest__V1__VerifyUsageRequest request = CROWNEST__V1__VERIFY_USAGE_REQUEST__INIT;
        Crownest__V1__VerifyUsageResponse *response;
        struct crownest_error error;

        request.page_token = token;
        if (crownest_usage_verify(client, &request, NULL, &response, &error)) {
            code = connect_failed(command, client, &error);
            break;
        }
        sum->sandboxes += response->sandboxes;
        sum->rows += response->rows;
        if (response->problem[0]) {
            sum->problem = strdup(response->problem);
            sum->sandbox_id = strdup(response->sandbox_id);
            sum->day = strdup(response->day);
            code = EXIT_FAILED;
        }
        free(token);
        token = response->next_page_token[0] ? strdup(response->next_page_token) : NULL;
        crownest__v1__verify_usage_response__free_unpacked(response, NULL);
    }
    free(token);
    return code;
}

static void print_verdict(const Crownest__V1__VerifyUsageResponse *sum)
{
    printf("%" PRIu64 " sandboxes and %" PRIu64 " rows compared: ", sum->sandboxes, sum->rows);
    if (!sum->problem[0]) {
        puts("all agree");
        return;
    }
    text_print(sum->sandbox_id, stdout);
    fputs(sum->day[0] ? " on " : "", stdout);
    text_print(sum->day, stdout);
    fputs(": ", stdout);
    text_print(sum->problem, stdout);
    putchar('\n');
}

static int verify_run(const struct command *command, int argc, char **argv)
{
    Crownest__V1__VerifyUsageResponse *sum = malloc(sizeof(*sum));
    struct connect_flags connect = {0};
    bool as_json = false;
    const struct flag flags[] = {
        {.name = "json", .kind = FLAG_SWITCH, .value = &as_json, .help = "print it as JSON"},
        CONNECT_FLAGS(&connect),
    };
    int first;
    enum flags_result parsed = FLAGS_PARSE(command, flags, argc, argv, &first);
    struct crownest_client *client = NULL;
    int code = parsed == FLAGS_HELP ? EXIT_OK : EXIT_USAGE;

    if (!sum)
        return EXIT_FAILED;
    crownest__v1__verify_usage_response__init(sum);
    if (parsed == FLAGS_OK && argc > first)
        code = flags_mistake(command, "takes no operand");
    else if (parsed == FLAGS_OK)
        code = (client = connect_client(command, &connect)) ? verify(command, client, sum)
                                                            : EXIT_FAILED;
    if (client && (code == EXIT_OK || sum->problem[0])) {
        if (!as_json)
            print_verdict(sum);
        else if (json_print(json_from_message(&sum->base), stdout))
            code = EXIT_FAILED;
    }
    crownest_client_free(client);
    crownest__v1__verify_usage_response__free_unpacked(sum, NULL);
    return fflush(stdout) ? EXIT_FAILED : code;
}

const struct command command_usage = {
    .name = "usage",
    .operands = "",
    .summary = "what the project's sandboxes have used, and what it costs",
    .run = usage_run,
};

const struct command command_usage_receipt = {
    .name = "usage receipt",
    .operands = "SANDBOX",
    .summary = "what one sandbox has used, interval by interval, and what it costs",
    .run = receipt_run,
};

const struct command command_usage_verify = {
    .name = "usage verify",
    .operands = "",
    .summary = "compare what was added up with the receipts; exit code 1 when they differ",
    .run = verify_run,
};
