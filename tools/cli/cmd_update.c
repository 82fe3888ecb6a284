#include <stdio.h>
#include <stdlib.h>

#include "bindings/c/crownest_sandbox.h"
#include "tools/cli/creation.h"
#include "tools/cli/json.h"
#include "tools/cli/retry.h"

#define UNSET UINT64_MAX
#define SECONDS_MAX (1ULL << 40)

struct update_flags {
    struct connect_flags connect;
    uint64_t ttl; /* seconds, or UNSET */
    struct flag_list labels;
    bool no_labels;
    bool as_json;
};

struct labels {
    Crownest__V1__UpdateSandboxRequest__LabelsEntry entries[FLAG_LIST_MAX];
    Crownest__V1__UpdateSandboxRequest__LabelsEntry *pointers[FLAG_LIST_MAX];
};

static int fill_labels(const struct update_flags *flags, struct labels *labels,
                       Crownest__V1__UpdateSandboxRequest *request)
{
    request->replace_labels = flags->labels.count || flags->no_labels;
    request->labels = labels->pointers;
    for (size_t i = 0; i < flags->labels.count; i++) {
        const char *value;
        char *key;
        int result = creation_split(flags->labels.items[i], false, &key, &value);

        if (result)
            return result;
        crownest__v1__update_sandbox_request__labels_entry__init(&labels->entries[i]);
        labels->entries[i].key = key;
        labels->entries[i].value = (char *)value;
        labels->pointers[i] = &labels->entries[i];
        request->n_labels = i + 1;
    }
    return 0;
}

static int send(const struct command *command, const struct update_flags *flags,
                const Crownest__V1__UpdateSandboxRequest *request)
{
    struct crownest_client *client = connect_client(command, &flags->connect);
    Crownest__V1__UpdateSandboxResponse *response = NULL;
    struct retry retry = RETRY(RETRY_FIRST_CONTACT_MS);
    struct crownest_error error;
    int code = EXIT_OK;

    if (!client)
        return EXIT_FAILED;
    while (!code && crownest_sandbox_update(client, request, NULL, &response, &error))
        if (!retry_again(&retry, &error))
            code = connect_failed(command, client, &error);
    if (!code && !flags->as_json)
        (void)puts(response->sandbox->sandbox_id);
    else if (!code && json_print(json_from_message(&response->sandbox->base), stdout))
        code = EXIT_FAILED;
    if (response)
        crownest__v1__update_sandbox_response__free_unpacked(response, NULL);
    crownest_client_free(client);
    return fflush(stdout) ? EXIT_FAILED : code;
}

static int update(const struct command *command, const struct update_flags *flags, char *id)
{
    Crownest__V1__UpdateSandboxRequest request = CROWNEST__V1__UPDATE_SANDBOX_REQUEST__INIT;
    Google__Protobuf__Duration ttl = GOOGLE__PROTOBUF__DURATION__INIT;
    struct labels *labels = calloc(1, sizeof(*labels));
    char request_id[CROWNEST_REQUEST_ID_SIZE];
    int code;

    if (!labels)
        return EXIT_FAILED;
    crownest_request_id(request_id);
    request.request_id = request_id;
    request.sandbox_id = id;
    ttl.seconds = (int64_t)flags->ttl;
    request.ttl = flags->ttl == UNSET ? NULL : &ttl;
    if (fill_labels(flags, labels, &request))
        code = flags_mistake(command, "--label takes K=V");
    else
        code = send(command, flags, &request);
    for (size_t i = 0; i < request.n_labels; i++)
        free(labels->entries[i].key);
    free(labels);
    return code;
}

static int update_run(const struct command *command, int argc, char **argv)
{
    struct update_flags values = {.ttl = UNSET};
    const struct flag flags[] = {
        {"ttl", 0, FLAG_NUMBER, &values.ttl, "SECONDS", "its life, from now", SECONDS_MAX},
        {"label", 'l', FLAG_LIST, &values.labels, "K=V", "these labels instead of its own", 0},
        {"no-labels", 0, FLAG_SWITCH, &values.no_labels, NULL, "take its labels away", 0},
        {"json", 0, FLAG_SWITCH, &values.as_json, NULL, "print all of it as JSON", 0},
        CONNECT_FLAGS(&values.connect),
    };
    int first;
    enum flags_result parsed = FLAGS_PARSE(command, flags, argc, argv, &first);

    if (parsed != FLAGS_OK)
        return parsed == FLAGS_HELP ? EXIT_OK : EXIT_USAGE;
    if (argc - first != 1)
        return flags_mistake(command, "needs the id of one sandbox");
    if (values.ttl == UNSET && !values.labels.count && !values.no_labels)
        return flags_mistake(command, "needs --ttl or --label: what to change");
    return update(command, &values, argv[first]);
}

const struct command command_update = {
    .name = "update",
    .operands = "SANDBOX",
    .summary = "change how long a sandbox lives, or its labels",
    .manual = "Prints its id. What is not given stays as it is.\n",
    .run = update_run,
};
