#include "tools/cli/creation.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bindings/c/crownest_sandbox.h"
#include "tools/cli/retry.h"

#define MIB (1ULL << 20)

int creation_split(const char *text, bool ours, char **ret_key, const char **ret_value)
{
    const char *equals = strchr(text, '=');
    const char *value = equals ? equals + 1 : ours ? getenv(text) : NULL;

    if (!equals && !ours)
        return -EINVAL;
    *ret_key = NULL;
    *ret_value = value;
    if (!value)
        return 0;
    *ret_key = equals ? strndup(text, (size_t)(equals - text)) : strdup(text);
    return *ret_key ? 0 : -ENOMEM;
}

/* Both kinds of entry, which have the same members. */
struct maps {
    Crownest__V1__CreateSandboxRequest__LabelsEntry labels[FLAG_LIST_MAX];
    Crownest__V1__CreateSandboxRequest__LabelsEntry *label_pointers[FLAG_LIST_MAX];
    Crownest__V1__CreateSandboxRequest__EnvEntry env[FLAG_LIST_MAX];
    Crownest__V1__CreateSandboxRequest__EnvEntry *env_pointers[FLAG_LIST_MAX];
};

static int fill_labels(const struct creation *creation, struct maps *maps,
                       Crownest__V1__CreateSandboxRequest *request)
{
    for (size_t i = 0; i < creation->labels.count; i++) {
        const char *value;
        char *key;
        int result = creation_split(creation->labels.items[i], false, &key, &value);

        if (result)
            return result;
        crownest__v1__create_sandbox_request__labels_entry__init(&maps->labels[i]);
        maps->labels[i].key = key;
        maps->labels[i].value = (char *)value;
        maps->label_pointers[i] = &maps->labels[i];
        request->n_labels = i + 1;
    }
    request->labels = maps->label_pointers;
    return 0;
}

static int fill_env(const struct creation *creation, struct maps *maps,
                    Crownest__V1__CreateSandboxRequest *request)
{
    for (size_t i = 0; i < creation->env.count; i++) {
        size_t at = request->n_env;
        const char *value;
        char *key;
        int result = creation_split(creation->env.items[i], true, &key, &value);

        if (result)
            return result;
        if (!key)
            continue;
        crownest__v1__create_sandbox_request__env_entry__init(&maps->env[at]);
        maps->env[at].key = key;
        maps->env[at].value = (char *)value;
        maps->env_pointers[at] = &maps->env[at];
        request->n_env = at + 1;
    }
    request->env = maps->env_pointers;
    return 0;
}

static void free_maps(struct maps *maps, const Crownest__V1__CreateSandboxRequest *request)
{
    for (size_t i = 0; i < request->n_labels; i++)
        free(maps->labels[i].key);
    for (size_t i = 0; i < request->n_env; i++)
        free(maps->env[i].key);
    free(maps);
}

static int send(Crownest__V1__CreateSandboxRequest *request, const struct command *command,
                struct crownest_client *client, Crownest__V1__CreateSandboxResponse **ret_response)
{
    struct retry retry = RETRY(RETRY_FIRST_CONTACT_MS);
    char request_id[CROWNEST_REQUEST_ID_SIZE];
    struct crownest_error error;

    crownest_request_id(request_id);
    request->request_id = request_id;
    while (crownest_sandbox_create(client, request, NULL, ret_response, &error))
        if (!retry_again(&retry, &error))
            return connect_failed(command, client, &error);
    return EXIT_OK;
}

int creation_send(const struct creation *creation, const struct command *command,
                  struct crownest_client *client,
                  Crownest__V1__CreateSandboxResponse **ret_response)
{
    Google__Protobuf__Duration ttl = GOOGLE__PROTOBUF__DURATION__INIT;
    Google__Protobuf__Duration lease = GOOGLE__PROTOBUF__DURATION__INIT;
    Crownest__V1__Resources resources = CROWNEST__V1__RESOURCES__INIT;
    Crownest__V1__CreateSandboxRequest request = CROWNEST__V1__CREATE_SANDBOX_REQUEST__INIT;
    struct maps *maps = calloc(1, sizeof(*maps));
    int code = EXIT_FAILED;

    if (!maps)
        return code;
    ttl.seconds = (int64_t)creation->ttl;
    lease.seconds = (int64_t)creation->lease;
    resources.memory_bytes = creation->memory * MIB;
    resources.cpu_millis = (uint32_t)creation->cpu;
    resources.max_processes = (uint32_t)creation->processes;
    resources.disk_bytes = creation->disk * MIB;
    request.template_ = (char *)creation->template;
    request.ttl = &ttl;
    request.lease = creation->lease ? &lease : NULL;
    request.parent_sandbox_id = (char *)creation->parent;
    request.resources = &resources;
    if (fill_labels(creation, maps, &request) == -EINVAL)
        code = flags_mistake(command, "--label takes K=V");
    else if (!fill_env(creation, maps, &request))
        code = send(&request, command, client, ret_response);
    free_maps(maps, &request);
    return code;
}
