#include "tools/build/protogen/contract.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crownest/v1/options.pb-c.h"
#include "google/protobuf/descriptor.pb-c.h"
#include "tools/build/protogen/naming.h"

/* The field number of `policy` in options.proto. */
#define POLICY_FIELD 50417

/* Field numbers in descriptor.proto: what a source location's path is made of. */
#define PATH_FILE_SERVICE 6
#define PATH_SERVICE_METHOD 2

typedef Google__Protobuf__FileDescriptorSet descriptor_set;
typedef Google__Protobuf__FileDescriptorProto descriptor_file;
typedef Google__Protobuf__ServiceDescriptorProto descriptor_service;
typedef Google__Protobuf__MethodDescriptorProto descriptor_method;
typedef Crownest__V1__MethodPolicy method_policy;

__attribute__((format(printf, 2, 3))) static int fail(struct contract_error *error,
                                                      const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(error->text, sizeof(error->text), format, args);
    va_end(args);
    return -EINVAL;
}

__attribute__((format(printf, 2, 3))) static int set_name(char *name, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    int len = vsnprintf(name, CONTRACT_NAME_MAX, format, args);
    va_end(args);
    return len >= 0 && len < CONTRACT_NAME_MAX ? 0 : -EINVAL;
}

/* The comment above the declaration that `path` leads to, or NULL. */
static char *find_comment(const descriptor_file *file, const int32_t *path, size_t path_len)
{
    if (!file->source_code_info)
        return NULL;
    for (size_t i = 0; i < file->source_code_info->n_location; i++) {
        const Google__Protobuf__SourceCodeInfo__Location *at = file->source_code_info->location[i];

        if (at->n_path == path_len && !memcmp(at->path, path, path_len * sizeof(*path)))
            return at->leading_comments ? strdup(at->leading_comments) : NULL;
    }
    return NULL;
}

static int name_message(const char *proto_name, struct contract_message *message)
{
    if (proto_name[0] == '.')
        proto_name++;
    if (naming_c_type(proto_name, message->type, sizeof(message->type)))
        return -EINVAL;
    return naming_c_symbol(proto_name, message->symbol, sizeof(message->symbol));
}

static int name_method(struct contract_method *method, const char *package, const char *noun,
                       const descriptor_service *service, const descriptor_method *source)
{
    char snake[CONTRACT_NAME_MAX];

    if (naming_snake(source->name, snake, sizeof(snake)) ||
        set_name(method->full_name, "%s.%s.%s", package, service->name, source->name) ||
        set_name(method->path, "/%s.%s/%s", package, service->name, source->name) ||
        set_name(method->name, "%s.%s", service->name, source->name) ||
        set_name(method->lower, "%s_%s", noun, snake) ||
        name_message(source->input_type, &method->input) ||
        name_message(source->output_type, &method->output))
        return -EINVAL;
    for (size_t i = 0; i <= strlen(method->lower); i++)
        method->upper[i] = (char)toupper((unsigned char)method->lower[i]);
    return 0;
}

/*
 * The policy is an extension, so protobuf-c keeps it as an unknown field, whose bytes begin with
 * their own length as a varint. Returns NULL when there is none, or it cannot be read.
 */
static method_policy *unpack_policy(const descriptor_method *source)
{
    if (!source->options)
        return NULL;
    for (size_t i = 0; i < source->options->base.n_unknown_fields; i++) {
        const ProtobufCMessageUnknownField *field = &source->options->base.unknown_fields[i];
        size_t skip = 0;

        if (field->tag != POLICY_FIELD || field->wire_type != PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED)
            continue;
        while (skip < field->len && (field->data[skip] & 0x80))
            skip++;
        if (skip >= field->len)
            return NULL;
        skip++;
        return crownest__v1__method_policy__unpack(NULL, field->len - skip, field->data + skip);
    }
    return NULL;
}

static bool is_scope(const char *scope)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz_";
    size_t resource = strspn(scope, letters);

    if (resource == 0 || scope[resource] != ':')
        return false;
    size_t action = strspn(scope + resource + 1, letters);
    return action > 0 && scope[resource + 1 + action] == '\0';
}

static bool is_route(const char *route)
{
    static const char *const verbs[] = {"GET /", "POST /", "PUT /", "PATCH /", "DELETE /"};

    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
        if (!strncmp(route, verbs[i], strlen(verbs[i])))
            return strcspn(strchr(route, '/'), " \"\\") == strlen(strchr(route, '/'));
    return false;
}

static int check_policy(const char *method, const method_policy *policy,
                        struct contract_error *error)
{
    if (policy->audience < CROWNEST__V1__AUDIENCE__AUDIENCE_KEY ||
        policy->audience > CROWNEST__V1__AUDIENCE__AUDIENCE_ANYONE)
        return fail(error, "%s: its policy names no audience", method);
    if (policy->audience == CROWNEST__V1__AUDIENCE__AUDIENCE_KEY && !is_scope(policy->scope))
        return fail(error, "%s: AUDIENCE_KEY needs a scope of the form resource:action, not \"%s\"",
                    method, policy->scope);
    if (policy->audience != CROWNEST__V1__AUDIENCE__AUDIENCE_KEY && policy->scope[0])
        return fail(error, "%s: has scope \"%s\", which its audience never needs", method,
                    policy->scope);
    if (policy->route[0] && !is_route(policy->route))
        return fail(error, "%s: \"%s\" is not a route: an HTTP method, a space and a path", method,
                    policy->route);
    return 0;
}

static int apply_policy(struct contract_method *method, const descriptor_method *source,
                        struct contract_error *error)
{
    method_policy *policy = unpack_policy(source);

    if (!policy)
        return fail(error, "%s: has no policy: write who may call it as option (policy)",
                    method->full_name);
    int result = check_policy(method->full_name, policy, error);
    if (!result && (set_name(method->scope, "%s", policy->scope) ||
                    set_name(method->route, "%s", policy->route)))
        result = fail(error, "%s: its scope or route is too long", method->full_name);
    method->audience = (enum contract_audience)policy->audience;
    method->max_request_bytes =
        policy->max_request_bytes ? policy->max_request_bytes : CONTRACT_DEFAULT_REQUEST_BYTES;
    crownest__v1__method_policy__free_unpacked(policy, NULL);
    return result;
}

static int load_method(struct contract_method *method, const char *package, const char *noun,
                       const descriptor_service *service, const descriptor_method *source,
                       struct contract_error *error)
{
    if (name_method(method, package, noun, service, source))
        return fail(error, "%s.%s.%s: a name of it is too long", package, service->name,
                    source->name);
    method->client_streaming = source->client_streaming;
    method->server_streaming = source->server_streaming;
    if (method->client_streaming && method->server_streaming)
        return fail(error, "%s: streams both ways, which nothing here serves", method->full_name);
    return apply_policy(method, source, error);
}

static int load_service(struct contract_service *service, const descriptor_file *file, size_t index,
                        struct contract_error *error)
{
    static const char suffix[] = "Service";
    const descriptor_service *source = file->service[index];
    int32_t path[4] = {PATH_FILE_SERVICE, (int32_t)index, PATH_SERVICE_METHOD, 0};
    size_t len = strlen(source->name);
    size_t stem = strlen(file->name);

    if (len <= strlen(suffix) || len >= CONTRACT_NAME_MAX ||
        strcmp(source->name + len - strlen(suffix), suffix) != 0)
        return fail(error, "%s: a service is named after its noun, as in SandboxService",
                    source->name);
    char noun[CONTRACT_NAME_MAX];
    if (set_name(noun, "%.*s", (int)(len - strlen(suffix)), source->name) ||
        naming_snake(noun, service->noun, sizeof(service->noun)))
        return fail(error, "%s: its name is too long", source->name);
    if (stem > strlen(".proto"))
        stem -= strlen(".proto");
    if (set_name(service->header, "%.*s.pb-c.h", (int)stem, file->name))
        return fail(error, "%s: its name is too long", file->name);
    service->comment = find_comment(file, path, 2);
    service->methods = calloc(source->n_method + 1, sizeof(*service->methods));
    if (!service->methods)
        return -ENOMEM;
    for (size_t i = 0; i < source->n_method; i++, service->method_count++) {
        int result = load_method(&service->methods[i], file->package, service->noun, source,
                                 source->method[i], error);
        if (result)
            return result;
        path[3] = (int32_t)i;
        service->methods[i].comment = find_comment(file, path, 4);
    }
    return 0;
}

static int load_services(struct contract *contract, const descriptor_set *set,
                         struct contract_error *error)
{
    size_t total = 0;

    for (size_t i = 0; i < set->n_file; i++)
        total += set->file[i]->n_service;
    contract->services = calloc(total + 1, sizeof(*contract->services));
    if (!contract->services)
        return -ENOMEM;
    for (size_t i = 0; i < set->n_file; i++) {
        for (size_t j = 0; j < set->file[i]->n_service; j++) {
            struct contract_service *service = &contract->services[contract->service_count++];
            int result = load_service(service, set->file[i], j, error);
            if (result)
                return result;
            contract->method_count += service->method_count;
        }
    }
    return 0;
}

static int compare_paths(const void *a, const void *b)
{
    const struct contract_method *const *left = a;
    const struct contract_method *const *right = b;

    return strcmp((*left)->path, (*right)->path);
}

static int check_routes(const struct contract *contract, struct contract_error *error)
{
    for (size_t i = 0; i < contract->method_count; i++) {
        const struct contract_method *method = contract->by_path[i];

        for (size_t j = 0; j < i && method->route[0]; j++)
            if (!strcmp(method->route, contract->by_path[j]->route))
                return fail(error, "%s: its route \"%s\" is also that of %s", method->full_name,
                            method->route, contract->by_path[j]->full_name);
    }
    return 0;
}

static int index_methods(struct contract *contract, struct contract_error *error)
{
    size_t at = 0;

    contract->by_path = calloc(contract->method_count + 1, sizeof(struct contract_method *));
    if (!contract->by_path)
        return -ENOMEM;
    for (size_t i = 0; i < contract->service_count; i++)
        for (size_t j = 0; j < contract->services[i].method_count; j++)
            contract->by_path[at++] = &contract->services[i].methods[j];
    qsort(contract->by_path, at, sizeof(struct contract_method *), compare_paths);
    return check_routes(contract, error);
}

int contract_load(const uint8_t *data, size_t len, struct contract **ret_contract,
                  struct contract_error *ret_error)
{
    descriptor_set *set = google__protobuf__file_descriptor_set__unpack(NULL, len, data);

    ret_error->text[0] = '\0';
    if (!set)
        return fail(ret_error, "the input is not a FileDescriptorSet");
    struct contract *contract = calloc(1, sizeof(*contract));
    int result = contract ? load_services(contract, set, ret_error) : -ENOMEM;
    if (!result)
        result = index_methods(contract, ret_error);
    google__protobuf__file_descriptor_set__free_unpacked(set, NULL);
    if (result) {
        if (result == -ENOMEM)
            (void)fail(ret_error, "out of memory");
        contract_free(contract);
        return result;
    }
    *ret_contract = contract;
    return 0;
}

void contract_free(struct contract *contract)
{
    if (!contract)
        return;
    for (size_t i = 0; i < contract->service_count; i++) {
        struct contract_service *service = &contract->services[i];

        for (size_t j = 0; j < service->method_count; j++)
            free(service->methods[j].comment);
        free(service->methods);
        free(service->comment);
    }
    free(contract->services);
    free(contract->by_path);
    free(contract);
}

static int compare_strings(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

size_t contract_scopes(const struct contract *contract, const char ***ret_scopes)
{
    const char **scopes = calloc(contract->method_count + 1, sizeof(char *));
    size_t count = 0;
    size_t kept = 0;

    for (size_t i = 0; scopes && i < contract->method_count; i++)
        if (contract->by_path[i]->scope[0])
            scopes[count++] = contract->by_path[i]->scope;
    if (scopes)
        qsort(scopes, count, sizeof(char *), compare_strings);
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || strcmp(scopes[kept - 1], scopes[i]) != 0)
            scopes[kept++] = scopes[i];
    *ret_scopes = scopes;
    return kept;
}
