#include "bindings/c/crownest_project.h"
#include "tools/cli/list.h"
#include "tools/cli/text.h"

#define DAY_S 86400
#define DAYS_MAX 1000000
#define UNSET UINT64_MAX

/* What a new project is to be, or an old one to become. */
struct change {
    char request_id[CROWNEST_REQUEST_ID_SIZE];
    char *project;                             /* its name; to change one also its id */
    const char *plan;                          /* "": not given */
    Google__Protobuf__Duration *log_retention; /* NULL: not given, as the next two */
    Google__Protobuf__Duration *artifact_retention;
    Google__Protobuf__Duration *tombstone_retention;
    bool as_json;
};

/* Calls the service and prints the project; returns what the call did. */
typedef int call_fn(struct crownest_client *client, struct change *change, int *ret_code,
                    struct crownest_error *ret_error);

static int print_project(const Crownest__V1__Project *project, bool as_json)
{
    if (as_json)
        return json_print(json_from_message(&project->base), stdout) ? EXIT_FAILED : EXIT_OK;
    return puts(project->project_id) == EOF ? EXIT_FAILED : EXIT_OK;
}

static int call_create(struct crownest_client *client, struct change *change, int *ret_code,
                       struct crownest_error *ret_error)
{
    Crownest__V1__CreateProjectRequest request = CROWNEST__V1__CREATE_PROJECT_REQUEST__INIT;
    Crownest__V1__CreateProjectResponse *response;

    request.request_id = change->request_id;
    request.name = change->project;
    request.plan = (char *)change->plan;
    request.log_retention = change->log_retention;
    request.artifact_retention = change->artifact_retention;
    request.tombstone_retention = change->tombstone_retention;
    int result = crownest_project_create(client, &request, NULL, &response, ret_error);

    if (result)
        return result;
    *ret_code = print_project(response->project, change->as_json);
    crownest__v1__create_project_response__free_unpacked(response, NULL);
    return 0;
}

static int call_update(struct crownest_client *client, struct change *change, int *ret_code,
                       struct crownest_error *ret_error)
{
    Crownest__V1__UpdateProjectRequest request = CROWNEST__V1__UPDATE_PROJECT_REQUEST__INIT;
    Crownest__V1__UpdateProjectResponse *response;

    request.request_id = change->request_id;
    request.project = change->project;
    request.plan = (char *)change->plan;
    request.log_retention = change->log_retention;
    request.artifact_retention = change->artifact_retention;
    request.tombstone_retention = change->tombstone_retention;
    int result = crownest_project_update(client, &request, NULL, &response, ret_error);

    if (result)
        return result;
    *ret_code = print_project(response->project, change->as_json);
    crownest__v1__update_project_response__free_unpacked(response, NULL);
    return 0;
}

/* A retention as a flag. */
struct retention {
    uint64_t days; /* UNSET: not given */
    Google__Protobuf__Duration duration;
};

static Google__Protobuf__Duration *retention_of(struct retention *retention)
{
    if (retention->days == UNSET)
        return NULL;
    google__protobuf__duration__init(&retention->duration);
    retention->duration.seconds = (int64_t)retention->days * DAY_S;
    return &retention->duration;
}

#define RETENTION_FLAG(flag, retention, what)                                                      \
    {                                                                                              \
        .name = flag, .kind = FLAG_NUMBER, .value = &(retention).days, .operand = "DAYS",          \
        .help = "how long " what, .max = DAYS_MAX                                                  \
    }

static int change_run(const struct command *command, int argc, char **argv, call_fn *call)
{
    struct retention logs = {.days = UNSET};
    struct retention artifacts = {.days = UNSET};
    struct retention tombstones = {.days = UNSET};
    struct connect_flags connect = {0};
    struct change change = {.plan = ""};
    const struct flag flags[] = {
        {.name = "plan",
         .kind = FLAG_TEXT,
         .value = &change.plan,
         .operand = "PLAN",
         .help = "what it may use at most (new: self-hosted, which bounds nothing)"},
        RETENTION_FLAG("log-retention", logs, "logs of ended commands are kept (new: 30)"),
        RETENTION_FLAG("artifact-retention", artifacts, "artifacts are kept (new: 30)"),
        RETENTION_FLAG("tombstone-retention", tombstones,
                       "records of ended sandboxes are kept (new: 90)"),
        {.name = "json", .kind = FLAG_SWITCH, .value = &change.as_json, .help = "print it as JSON"},
        CONNECT_FLAGS(&connect),
    };
    struct crownest_error error;
    int first;
    int code;
    enum flags_result parsed = FLAGS_PARSE(command, flags, argc, argv, &first);

    if (parsed != FLAGS_OK)
        return parsed == FLAGS_HELP ? EXIT_OK : EXIT_USAGE;
    if (argc - first != 1)
        return flags_mistake(command, "needs one project");
    struct crownest_client *client = connect_client(command, &connect);

    if (!client)
        return EXIT_FAILED;
    crownest_request_id(change.request_id);
    change.project = argv[first];
    change.log_retention = retention_of(&logs);
    change.artifact_retention = retention_of(&artifacts);
    change.tombstone_retention = retention_of(&tombstones);
    if (call(client, &change, &code, &error))
        code = connect_failed(command, client, &error);
    crownest_client_free(client);
    return code;
}

static int create_run(const struct command *command, int argc, char **argv)
{
    return change_run(command, argc, argv, call_create);
}

static int update_run(const struct command *command, int argc, char **argv)
{
    return change_run(command, argc, argv, call_update);
}

static void print_row(const ProtobufCMessage *item)
{
    const Crownest__V1__Project *project = (const Crownest__V1__Project *)item;
    char name[64];
    char plan[64];
    char created[TEXT_TIME_SIZE];

    text_format(project->name, name, sizeof(name));
    text_format(project->plan[0] ? project->plan : "self-hosted", plan, sizeof(plan));
    text_time(project->create_time, created);
    printf("%-30s  %-40s  %-20s  %s\n", project->project_id, name, created, plan);
}

static int fetch(struct list *list, const char *page_token, char **ret_next,
                 struct crownest_error *ret_error)
{
    Crownest__V1__ListProjectsRequest request = CROWNEST__V1__LIST_PROJECTS_REQUEST__INIT;
    Crownest__V1__ListProjectsResponse *page;

    request.page_token = (char *)page_token;
    int result = crownest_project_list(list->client, &request, NULL, &page, ret_error);
    if (result)
        return result;
    for (size_t i = 0; i < page->n_projects; i++)
        list_item(list, &page->projects[i]->base);
    *ret_next = list_next(page->next_page_token);
    crownest__v1__list_projects_response__free_unpacked(page, NULL);
    return 0;
}

static int list_run(const struct command *command, int argc, char **argv)
{
    struct list list = {
        .command = command,
        .heading = "PROJECT                         NAME                                      "
                   "CREATED               PLAN\n",
        .print_row = print_row,
        .fetch = fetch,
    };

    return list_main(&list, argc, argv);
}

const struct command command_projects_create = {
    .name = "projects create",
    .operands = "NAME",
    .summary = "create a project and print its id (operators)",
    .run = create_run,
};

const struct command command_projects_update = {
    .name = "projects update",
    .operands = "PROJECT",
    .summary = "change a project, by its name or id, and print its id (operators)",
    .run = update_run,
};

const struct command command_projects_list = {
    .name = "projects list",
    .operands = "",
    .summary = "list projects, newest first (operators)",
    .run = list_run,
};
