#include "bindings/c/crownest_project.h"
#include "tools/cli/list.h"
#include "tools/cli/text.h"

static int print_created(const Crownest__V1__Project *project, bool as_json)
{
    if (as_json)
        return json_print(json_from_message(&project->base), stdout) ? EXIT_FAILED : EXIT_OK;
    return puts(project->project_id) == EOF ? EXIT_FAILED : EXIT_OK;
}

static int create_run(const struct command *command, int argc, char **argv)
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
        return flags_mistake(command, "needs one name");
    struct crownest_client *client = connect_client(command, &connect);
    if (!client)
        return EXIT_FAILED;
    char request_id[CROWNEST_REQUEST_ID_SIZE];
    crownest_request_id(request_id);
    Crownest__V1__CreateProjectRequest request = CROWNEST__V1__CREATE_PROJECT_REQUEST__INIT;
    Crownest__V1__CreateProjectResponse *response;
    struct crownest_error error;
    request.request_id = request_id;
    request.name = argv[first];
    int code = EXIT_OK;
    if (crownest_project_create(client, &request, NULL, &response, &error)) {
        code = connect_failed(command, client, &error);
    } else {
        code = print_created(response->project, as_json);
        crownest__v1__create_project_response__free_unpacked(response, NULL);
    }
    crownest_client_free(client);
    return code;
}

static void print_row(const ProtobufCMessage *item)
{
    const Crownest__V1__Project *project = (const Crownest__V1__Project *)item;
    char name[64];
    char created[TEXT_TIME_SIZE];

    text_format(project->name, name, sizeof(name));
    text_time(project->create_time, created);
    printf("%-30s  %-40s  %s\n", project->project_id, name, created);
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
                   "CREATED\n",
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

const struct command command_projects_list = {
    .name = "projects list",
    .operands = "",
    .summary = "list projects, newest first (operators)",
    .run = list_run,
};
