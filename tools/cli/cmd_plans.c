#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bindings/c/crownest_plan.h"
#include "tools/cli/list.h"
#include "tools/cli/plan_file.h"
#include "tools/cli/text.h"

/* Applying */

static int print_plans(Crownest__V1__Plan *const *plans, size_t count, bool as_json)
{
    json_t *array = as_json ? json_array() : NULL;

    for (size_t i = 0; i < count; i++) {
        if (array)
            (void)json_append_message(array, &plans[i]->base);
        else
            (void)puts(plans[i]->name);
    }
    if (array && json_print(array, stdout))
        return EXIT_FAILED;
    return fflush(stdout) ? EXIT_FAILED : EXIT_OK;
}

/* The service names fields by where they stand in the request; people look in the file. */
static int put_failed(const struct command *command, const struct crownest_client *client,
                      const char *name, const struct plan_file *file,
                      const struct crownest_error *error)
{
    char where[96];

    if (strncmp(error->field, "plans", 5) != 0)
        return connect_failed(command, client, error);
    plan_file_locate(file, error->field, where, sizeof(where));
    fprintf(stderr, "crownest %s: %s: %s: ", command->name, name, where);
    text_print(error->message, stderr);
    fputs("\nNothing was applied.\n", stderr);
    return EXIT_FAILED;
}

static int put(const struct command *command, const struct connect_flags *connect, const char *name,
               const struct plan_file *file, bool as_json)
{
    Crownest__V1__PutPlansRequest request = CROWNEST__V1__PUT_PLANS_REQUEST__INIT;
    Crownest__V1__PutPlansResponse *response;
    struct crownest_error error;
    char request_id[CROWNEST_REQUEST_ID_SIZE];
    struct crownest_client *client = connect_client(command, connect);
    int code;

    if (!client)
        return EXIT_FAILED;
    crownest_request_id(request_id);
    request.request_id = request_id;
    request.plans = file->plans;
    request.n_plans = file->count;
    if (crownest_plan_put(client, &request, NULL, &response, &error)) {
        code = put_failed(command, client, name, file, &error);
    } else {
        code = print_plans(response->plans, response->n_plans, as_json);
        crownest__v1__put_plans_response__free_unpacked(response, NULL);
    }
    crownest_client_free(client);
    return code;
}

static int read_plans(const char *path, struct plan_file *ret_file, struct err *err)
{
    if (!strcmp(path, "-"))
        return plan_file_read(stdin, "standard input", ret_file, err);
    FILE *in = fopen(path, "re");

    if (!in)
        return err_set(err, errno, "%s: %s", path, strerror(errno));
    int result = plan_file_read(in, path, ret_file, err);

    (void)fclose(in);
    return result;
}

static int apply_run(const struct command *command, int argc, char **argv)
{
    struct connect_flags connect = {0};
    struct plan_file file;
    struct err err = {0};
    bool as_json = false;
    const struct flag flags[] = {
        {.name = "json", .kind = FLAG_SWITCH, .value = &as_json, .help = "print them as JSON"},
        CONNECT_FLAGS(&connect),
    };
    int first;
    enum flags_result parsed = FLAGS_PARSE(command, flags, argc, argv, &first);

    if (parsed != FLAGS_OK)
        return parsed == FLAGS_HELP ? EXIT_OK : EXIT_USAGE;
    if (argc - first != 1)
        return flags_mistake(command, "needs one file of plans; - is standard input");
    if (read_plans(argv[first], &file, &err)) {
        fprintf(stderr, "crownest %s: ", command->name);
        text_print(err.message, stderr);
        fputs("\nNothing was applied.\n", stderr);
        return EXIT_FAILED;
    }
    int code = put(command, &connect, argv[first], &file, as_json);

    plan_file_done(&file);
    return code;
}

/* Deleting */

static int delete (const struct command *command, struct crownest_client *client, char *name)
{
    Crownest__V1__DeletePlanRequest request = CROWNEST__V1__DELETE_PLAN_REQUEST__INIT;
    Crownest__V1__DeletePlanResponse *response;
    struct crownest_error error;

    request.name = name;
    if (crownest_plan_delete(client, &request, NULL, &response, &error))
        return connect_failed(command, client, &error);
    (void)puts(response->plan->name);
    crownest__v1__delete_plan_response__free_unpacked(response, NULL);
    return EXIT_OK;
}

static int delete_run(const struct command *command, int argc, char **argv)
{
    return connect_each(command, argc, argv, "a plan", delete);
}

/* Listing */

/* "-" for no bound. */
static const char *number(uint64_t value, char text[24])
{
    (void)snprintf(text, 24, value ? "%" PRIu64 : "-", value);
    return text;
}

static void print_row(const ProtobufCMessage *item)
{
    const Crownest__V1__Plan *plan = (const Crownest__V1__Plan *)item;
    const Crownest__V1__PlanFeatures *features = plan->features;
    char sandboxes[24];
    char ttl[24];
    char creates[24];
    char commands[24];
    char bytes[24];

    printf("%-24s  %9s  %9s  %9s  %9s  %16s ", plan->name, number(plan->max_sandboxes, sandboxes),
           number(plan->max_ttl ? (uint64_t)plan->max_ttl->seconds : 0, ttl),
           number(plan->creates_per_minute, creates), number(plan->max_commands, commands),
           number(plan->max_artifact_bytes, bytes));
    if (features)
        printf("%s%s%s%s%s", features->artifacts ? " artifacts" : "",
               features->metered_overage ? " metered_overage" : "",
               features->project_keys ? " project_keys" : "", features->webhooks ? " webhooks" : "",
               features->previews ? " previews" : "");
    putchar('\n');
}

static int fetch(struct list *list, const char *page_token, char **ret_next,
                 struct crownest_error *ret_error)
{
    Crownest__V1__ListPlansRequest request = CROWNEST__V1__LIST_PLANS_REQUEST__INIT;
    Crownest__V1__ListPlansResponse *page;
    int result = crownest_plan_list(list->client, &request, NULL, &page, ret_error);

    (void)page_token;
    if (result)
        return result;
    for (size_t i = 0; i < page->n_plans; i++)
        list_item(list, &page->plans[i]->base);
    *ret_next = NULL;
    crownest__v1__list_plans_response__free_unpacked(page, NULL);
    return 0;
}

static int list_run(const struct command *command, int argc, char **argv)
{
    struct list list = {
        .command = command,
        .heading = "PLAN                      SANDBOXES     TTL_S  CREATES/M   COMMANDS    "
                   "ARTIFACT_BYTES  FEATURES\n",
        .print_row = print_row,
        .fetch = fetch,
    };

    return list_main(&list, argc, argv);
}

const struct command command_plans_apply = {
    .name = "plans apply",
    .operands = "FILE",
    .summary = "make or replace the plans of a file, all or none (operators)",
    .manual =
        "FILE is a JSON array of plans, as `crownest plans --json` prints it; - is standard\n"
        "input. What a plan leaves out is not bounded. Times are \"90s\", \"60m\", \"24h\" or "
        "\"30d\".\n",
    .run = apply_run,
};

const struct command command_plans_delete = {
    .name = "plans delete",
    .operands = "PLAN...",
    .summary = "delete plans that no project has (operators)",
    .run = delete_run,
};

const struct command command_plans = {
    .name = "plans",
    .operands = "",
    .summary = "list plans by name (operators)",
    .run = list_run,
};
