#include "tools/build/protogen/server_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char header_top[] =
    "/*\n"
    " * Generated from the method options in proto/crownest/v1. Every method of the contract, "
    "sorted\n"
    " * by path: a method's id is its place in rpc_methods. Read-only, for any thread.\n"
    " */\n"
    "#ifndef CROWNEST_SERVER_RPC_METHOD_TABLE_H\n"
    "#define CROWNEST_SERVER_RPC_METHOD_TABLE_H\n\n"
    "#include <stdbool.h>\n"
    "#include <stddef.h>\n"
    "#include <stdint.h>\n\n";

static const char header_types[] =
    "enum rpc_audience {\n"
    "    RPC_AUDIENCE_KEY,      /* a key with the method's scope, or an operator in a project */\n"
    "    RPC_AUDIENCE_OPERATOR, /* operators only */\n"
    "    RPC_AUDIENCE_ANY_KEY,  /* any key, and operators */\n"
    "    RPC_AUDIENCE_ANYONE,   /* whoever reaches the service */\n"
    "};\n\n"
    "struct rpc_method {\n"
    "    const char *path;  /* \"/crownest.v1.SandboxService/Create\" */\n"
    "    const char *name;  /* \"SandboxService.Create\" */\n"
    "    const char *scope; /* \"sandbox:create\"; NULL: none is needed */\n"
    "    const char *route; /* \"POST /v1/sandboxes\"; NULL: not reachable by REST */\n"
    "    enum rpc_audience audience;\n"
    "    bool client_streaming;\n"
    "    bool server_streaming;\n"
    "    uint32_t max_request_bytes; /* of one message */\n"
    "    const ProtobufCMessageDescriptor *input;\n"
    "    const ProtobufCMessageDescriptor *output;\n"
    "};\n\n"
    "extern const struct rpc_method rpc_methods[RPC_METHOD_COUNT];\n\n"
    "/* Every scope that a key can hold, once each, sorted. */\n"
    "extern const char *const rpc_scopes[];\n"
    "extern const size_t rpc_scope_count;\n\n"
    "/* Returns the id of the method with this path, which needs no end mark, or -1. */\n"
    "int rpc_method_find(const char *path, size_t len);\n\n"
    "/*\n"
    " * Every method of a kind: X(ID, lower_name, RequestType, ResponseType). A table of handlers "
    "made\n"
    " * with these does not compile or link while a method has no handler.\n"
    " */\n";

static const char find_function[] =
    "int rpc_method_find(const char *path, size_t len)\n"
    "{\n"
    "    int low = 0;\n"
    "    int high = RPC_METHOD_COUNT - 1;\n\n"
    "    while (low <= high) {\n"
    "        int middle = low + (high - low) / 2;\n"
    "        const char *name = rpc_methods[middle].path;\n"
    "        size_t name_len = strlen(name);\n"
    "        int order = memcmp(path, name, len < name_len ? len : name_len);\n\n"
    "        if (order == 0 && len == name_len)\n"
    "            return middle;\n"
    "        if (order < 0 || (order == 0 && len < name_len))\n"
    "            high = middle - 1;\n"
    "        else\n"
    "            low = middle + 1;\n"
    "    }\n"
    "    return -1;\n"
    "}\n";

static void write_x_macro(const struct contract *contract, FILE *out, const char *name,
                          bool client_streaming, bool server_streaming)
{
    fprintf(out, "#define %s(X)", name);
    for (size_t i = 0; i < contract->method_count; i++) {
        const struct contract_method *method = contract->by_path[i];

        if (method->client_streaming == client_streaming &&
            method->server_streaming == server_streaming)
            fprintf(out, " \\\n    X(RPC_%s, %s, %s, %s)", method->upper, method->lower,
                    method->input.type, method->output.type);
    }
    fprintf(out, "\n\n");
}

static void write_header(const struct contract *contract, FILE *out)
{
    fputs(header_top, out);
    for (size_t i = 0; i < contract->service_count; i++)
        fprintf(out, "#include \"%s\"\n", contract->services[i].header);
    fputs("\nenum rpc_method_id {\n", out);
    for (size_t i = 0; i < contract->method_count; i++)
        fprintf(out, "    RPC_%s,\n", contract->by_path[i]->upper);
    fputs("    RPC_METHOD_COUNT,\n};\n\n", out);
    fputs(header_types, out);
    write_x_macro(contract, out, "RPC_UNARY_METHODS", false, false);
    write_x_macro(contract, out, "RPC_SERVER_STREAM_METHODS", false, true);
    write_x_macro(contract, out, "RPC_CLIENT_STREAM_METHODS", true, false);
    fputs("#endif\n", out);
}

/* Names, scopes and routes hold neither quotes nor backslashes: the contract was checked. */
static void write_string(FILE *out, const char *field, const char *value)
{
    if (value[0])
        fprintf(out, "        .%s = \"%s\",\n", field, value);
}

static void write_method(const struct contract_method *method, FILE *out)
{
    static const char *const audiences[] = {
        [CONTRACT_AUDIENCE_KEY] = "KEY",
        [CONTRACT_AUDIENCE_OPERATOR] = "OPERATOR",
        [CONTRACT_AUDIENCE_ANY_KEY] = "ANY_KEY",
        [CONTRACT_AUDIENCE_ANYONE] = "ANYONE",
    };

    fprintf(out, "    [RPC_%s] = {\n", method->upper);
    write_string(out, "path", method->path);
    write_string(out, "name", method->name);
    write_string(out, "scope", method->scope);
    write_string(out, "route", method->route);
    fprintf(out, "        .audience = RPC_AUDIENCE_%s,\n", audiences[method->audience]);
    fprintf(out, "        .client_streaming = %s,\n", method->client_streaming ? "true" : "false");
    fprintf(out, "        .server_streaming = %s,\n", method->server_streaming ? "true" : "false");
    fprintf(out, "        .max_request_bytes = %u,\n", (unsigned)method->max_request_bytes);
    fprintf(out, "        .input = &%s__descriptor,\n", method->input.symbol);
    fprintf(out, "        .output = &%s__descriptor,\n    },\n", method->output.symbol);
}

static int write_source(const struct contract *contract, FILE *out)
{
    const char **scopes;
    size_t scope_count = contract_scopes(contract, &scopes);

    if (!scopes)
        return -ENOMEM;
    fputs("/* Generated from the method options in proto/crownest/v1. */\n"
          "#include \"server/rpc/method_table.h\"\n\n#include <string.h>\n\n"
          "const struct rpc_method rpc_methods[RPC_METHOD_COUNT] = {\n",
          out);
    for (size_t i = 0; i < contract->method_count; i++)
        write_method(contract->by_path[i], out);
    fputs("};\n\nconst char *const rpc_scopes[] = {\n", out);
    for (size_t i = 0; i < scope_count; i++)
        fprintf(out, "    \"%s\",\n", scopes[i]);
    fprintf(out, "    NULL,\n};\n\nconst size_t rpc_scope_count = %zu;\n\n", scope_count);
    fputs(find_function, out);
    free(scopes);
    return 0;
}

int server_table_write(const struct contract *contract, FILE *header, FILE *source)
{
    write_header(contract, header);
    return write_source(contract, source);
}
