/*
 * grpc.reflection.v1 and v1alpha from the descriptors that the build embeds. upb knows which file
 * defines a symbol; the files themselves go out as the bytes they came in as.
 */
#include <grpc/status.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "private/grpc_reflection.pb-c.h"
#include "server/rpc/builtin.h"
#include "server/rpc/call.h"
#include "server/rpc/upb_defs.h"

#define REQUEST_BYTES 4096
#define FILES_MAX 128
#define SYMBOL_MAX 256

typedef Grpc__Reflection__V1__ServerReflectionRequest Request;
typedef Grpc__Reflection__V1__ServerReflectionResponse Response;

struct file {
    const struct upb_FileDef *def;
    struct bytes wire;
};

struct reflection {
    struct upb_DefPool *pool;
    struct file files[FILES_MAX];
    size_t count;
};

/* Loading */

/* Splits the next file off a FileDescriptorSet, whose only field is `repeated … file = 1`. */
static bool next_file(struct bytes *set, struct bytes *ret_file)
{
    size_t at = 1, size = 0;

    if (set->data[0] != 0x0a)
        return false;
    for (unsigned shift = 0; at < set->size && shift < 32; shift += 7) {
        size |= (size_t)(set->data[at] & 0x7f) << shift;
        if (set->data[at++] & 0x80)
            continue;
        if (size > set->size - at)
            return false;
        *ret_file = bytes_of(set->data + at, size);
        *set = bytes_of(set->data + at + size, set->size - at - size);
        return true;
    }
    return false;
}

static bool add_file(struct reflection *reflection, struct bytes wire)
{
    struct upb_Arena *arena = upb_Arena_Init(NULL, 0, &upb_alloc_global);
    const struct upb_FileDef *def = NULL;
    struct upb_Status status;

    if (!arena)
        abort();
    upb_Status_Clear(&status);
    void *message = _upb_Message_New(&google_protobuf_FileDescriptorProto_msginit, arena);

    if (message && upb_Decode((const char *)wire.data, wire.size, message,
                              &google_protobuf_FileDescriptorProto_msginit, NULL, 0, arena) == 0)
        def = upb_DefPool_AddFile(reflection->pool, message, &status);
    upb_Arena_Free(arena);
    if (!def || reflection->count == FILES_MAX)
        return false;
    reflection->files[reflection->count++] = (struct file){def, wire};
    return true;
}

struct reflection *reflection_new(struct bytes descriptors)
{
    struct reflection *reflection = calloc(1, sizeof(*reflection));

    if (!reflection)
        abort();
    reflection->pool = upb_DefPool_New();
    while (descriptors.size) {
        struct bytes file;

        if (!next_file(&descriptors, &file) || !add_file(reflection, file)) {
            reflection_free(reflection);
            return NULL;
        }
    }
    return reflection;
}

void reflection_free(struct reflection *reflection)
{
    if (!reflection)
        return;
    upb_DefPool_Free(reflection->pool);
    free(reflection);
}

/* Answering */

static struct status refuse(struct rpc_call *call, Response *response, int code, const char *what)
{
    Grpc__Reflection__V1__ErrorResponse *error = arena_alloc(rpc_call_arena(call), sizeof(*error));

    grpc__reflection__v1__error_response__init(error);
    error->error_code = code;
    error->error_message = (char *)(uintptr_t)what;
    response->message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ERROR_RESPONSE;
    response->error_response = error;
    return STATUS_OK_VALUE;
}

static int index_of(const struct reflection *reflection, const struct upb_FileDef *def)
{
    for (size_t i = 0; i < reflection->count; i++)
        if (reflection->files[i].def == def)
            return (int)i;
    return -1;
}

/* The file and all that it imports, each once. Imports come before importers in the set, so one
 * walk from the back marks them all. */
static size_t mark_closure(const struct reflection *reflection, int index, bool marked[FILES_MAX])
{
    size_t count = 0;

    marked[index] = true;
    for (int i = index; i >= 0; i--) {
        const struct upb_FileDef *def = reflection->files[i].def;

        if (!marked[i])
            continue;
        count++;
        for (int d = 0; d < upb_FileDef_DependencyCount(def); d++) {
            int dependency = index_of(reflection, upb_FileDef_Dependency(def, d));

            if (dependency >= 0)
                marked[dependency] = true;
        }
    }
    return count;
}

static struct status answer_file(struct rpc_call *call, const struct upb_FileDef *def,
                                 Response *response)
{
    const struct reflection *reflection = call->listener->server->reflection;
    struct arena *arena = rpc_call_arena(call);
    bool marked[FILES_MAX] = {false};
    int index = def ? index_of(reflection, def) : -1;

    if (index < 0)
        return refuse(call, response, GRPC_STATUS_NOT_FOUND, "not found");
    size_t count = mark_closure(reflection, index, marked);
    Grpc__Reflection__V1__FileDescriptorResponse *answer = arena_alloc(arena, sizeof(*answer));
    ProtobufCBinaryData *list = arena_alloc(arena, count * sizeof(*list));

    grpc__reflection__v1__file_descriptor_response__init(answer);
    answer->file_descriptor_proto = list;
    for (int i = index; i >= 0; i--)
        if (marked[i])
            list[answer->n_file_descriptor_proto++] = (ProtobufCBinaryData){
                .data = (uint8_t *)(uintptr_t)reflection->files[i].wire.data,
                .len = reflection->files[i].wire.size,
            };
    response->message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_FILE_DESCRIPTOR_RESPONSE;
    response->file_descriptor_response = answer;
    return STATUS_OK_VALUE;
}

/* upb knows messages, fields, enums and services by name; a method is found by its service. */
static const struct upb_FileDef *find_symbol(const struct reflection *reflection,
                                             const char *symbol)
{
    char name[SYMBOL_MAX];
    const struct upb_FileDef *def;

    if (snprintf(name, sizeof(name), "%s", symbol) >= (int)sizeof(name))
        return NULL;
    def = upb_DefPool_FindFileContainingSymbol(reflection->pool, name);
    char *dot = strrchr(name, '.');

    if (def || !dot)
        return def;
    *dot = '\0';
    return upb_DefPool_FindFileContainingSymbol(reflection->pool, name);
}

/* The service part of a path: "/package.Service/Method". */
static struct bytes service_of(const struct route *route)
{
    const char *name = route->method->path + 1;

    return bytes_of(name, strcspn(name, "/"));
}

static bool same_service(const struct route *one, const struct route *other)
{
    struct bytes a = service_of(one), b = service_of(other);

    return a.size == b.size && memcmp(a.data, b.data, a.size) == 0;
}

static struct status answer_services(struct rpc_call *call, Response *response)
{
    const struct route *routes = call->listener->server->routes;
    struct arena *arena = rpc_call_arena(call);
    Grpc__Reflection__V1__ListServiceResponse *answer = arena_alloc(arena, sizeof(*answer));
    Grpc__Reflection__V1__ServiceResponse **list = arena_alloc(arena, ROUTE_COUNT * sizeof(*list));

    grpc__reflection__v1__list_service_response__init(answer);
    answer->service = list;
    /* Methods are sorted by path: those of one service stand together. */
    for (unsigned i = 0; i < ROUTE_COUNT; i++) {
        struct bytes name = service_of(&routes[i]);

        if (i && same_service(&routes[i - 1], &routes[i]))
            continue;
        Grpc__Reflection__V1__ServiceResponse *service = arena_alloc(arena, sizeof(*service));

        grpc__reflection__v1__service_response__init(service);
        service->name = memcpy(arena_alloc(arena, name.size + 1), name.data, name.size);
        list[answer->n_service++] = service;
    }
    response->message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_LIST_SERVICES_RESPONSE;
    response->list_services_response = answer;
    return STATUS_OK_VALUE;
}

static struct status answer(struct rpc_call *call, const void *request_message, void *message)
{
    const struct reflection *reflection = call->listener->server->reflection;
    const Request *request = request_message;
    Response *response = message;

    response->valid_host = request->host;
    response->original_request = (Request *)(uintptr_t)request;
    switch (request->message_request_case) {
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES:
        return answer_services(call, response);
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_BY_FILENAME:
        return answer_file(call,
                           upb_DefPool_FindFileByName(reflection->pool, request->file_by_filename),
                           response);
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL:
        return answer_file(call, find_symbol(reflection, request->file_containing_symbol),
                           response);
    default:
        return refuse(call, response, GRPC_STATUS_UNIMPLEMENTED,
                      "files and services can be asked for, extensions cannot");
    }
}

#define REFLECTION_METHOD(package)                                                                 \
    {                                                                                              \
        .path = "/grpc.reflection." package ".ServerReflection/ServerReflectionInfo",              \
        .name = "ServerReflection.ServerReflectionInfo", .client_streaming = true,                 \
        .server_streaming = true, .max_request_bytes = REQUEST_BYTES,                              \
        .input = &grpc__reflection__v1__server_reflection_request__descriptor,                     \
        .output = &grpc__reflection__v1__server_reflection_response__descriptor,                   \
    }

void reflection_routes(struct route routes[])
{
    static const struct rpc_method v1 = REFLECTION_METHOD("v1");
    static const struct rpc_method v1alpha = REFLECTION_METHOD("v1alpha");

    routes[BUILTIN_REFLECTION_V1] = (struct route){.method = &v1, .bidi = answer, .open = true};
    routes[BUILTIN_REFLECTION_V1ALPHA] =
        (struct route){.method = &v1alpha, .bidi = answer, .open = true};
}
