#include "tools/build/protogen/c_client.h"

#include <string.h>

/*
 * What a method's functions look like. In these texts $f is the function prefix
 * (crownest_sandbox_kill), $q and $r the C types of request and response, $s the symbol of the
 * response, $p the path.
 */
struct shape {
    const char *header;
    const char *source;
};

static const struct shape unary = {
    .header = "int $f(struct crownest_client *client,\n"
              "    const $q *request,\n"
              "    const struct crownest_call_options *options,\n"
              "    $r **ret_response,\n"
              "    struct crownest_error *ret_error);\n",
    .source = "int $f(struct crownest_client *client,\n"
              "    const $q *request,\n"
              "    const struct crownest_call_options *options,\n"
              "    $r **ret_response,\n"
              "    struct crownest_error *ret_error)\n"
              "{\n"
              "    ProtobufCMessage *response;\n"
              "    int result = crownest_call_unary(client, \"$p\",\n"
              "        &request->base, &$s__descriptor, options, &response, ret_error);\n\n"
              "    if (!result)\n"
              "        *ret_response = ($r *)response;\n"
              "    return result;\n"
              "}\n",
};

static const struct shape server_stream = {
    .header = "struct $f_reader;\n\n"
              "int $f_open(struct crownest_client *client,\n"
              "    const $q *request,\n"
              "    const struct crownest_call_options *options,\n"
              "    struct $f_reader **ret_reader,\n"
              "    struct crownest_error *ret_error);\n"
              "int $f_next(struct $f_reader *reader,\n"
              "    $r **ret_message,\n"
              "    struct crownest_error *ret_error);\n"
              "void $f_cancel(struct $f_reader *reader);\n"
              "void $f_free(struct $f_reader *reader);\n",
    .source = "int $f_open(struct crownest_client *client,\n"
              "    const $q *request,\n"
              "    const struct crownest_call_options *options,\n"
              "    struct $f_reader **ret_reader,\n"
              "    struct crownest_error *ret_error)\n"
              "{\n"
              "    struct crownest_stream *stream;\n"
              "    int result = crownest_stream_open(client, \"$p\",\n"
              "        &request->base, options, &stream, ret_error);\n\n"
              "    if (!result)\n"
              "        *ret_reader = (struct $f_reader *)stream;\n"
              "    return result;\n"
              "}\n\n"
              "int $f_next(struct $f_reader *reader,\n"
              "    $r **ret_message,\n"
              "    struct crownest_error *ret_error)\n"
              "{\n"
              "    ProtobufCMessage *message;\n"
              "    int result = crownest_stream_next((struct crownest_stream *)reader,\n"
              "        &$s__descriptor, &message, ret_error);\n\n"
              "    if (result > 0)\n"
              "        *ret_message = ($r *)message;\n"
              "    return result;\n"
              "}\n\n"
              "void $f_cancel(struct $f_reader *reader)\n"
              "{\n"
              "    crownest_stream_cancel((struct crownest_stream *)reader);\n"
              "}\n\n"
              "void $f_free(struct $f_reader *reader)\n"
              "{\n"
              "    crownest_stream_free((struct crownest_stream *)reader);\n"
              "}\n",
};

static const struct shape client_stream = {
    .header = "struct $f_writer;\n\n"
              "int $f_open(struct crownest_client *client,\n"
              "    const struct crownest_call_options *options,\n"
              "    struct $f_writer **ret_writer,\n"
              "    struct crownest_error *ret_error);\n"
              "int $f_send(struct $f_writer *writer,\n"
              "    const $q *message,\n"
              "    struct crownest_error *ret_error);\n"
              "int $f_finish(struct $f_writer *writer,\n"
              "    $r **ret_response,\n"
              "    struct crownest_error *ret_error);\n"
              "void $f_cancel(struct $f_writer *writer);\n"
              "void $f_free(struct $f_writer *writer);\n",
    .source = "int $f_open(struct crownest_client *client,\n"
              "    const struct crownest_call_options *options,\n"
              "    struct $f_writer **ret_writer,\n"
              "    struct crownest_error *ret_error)\n"
              "{\n"
              "    struct crownest_stream *stream;\n"
              "    int result = crownest_stream_open(client, \"$p\",\n"
              "        NULL, options, &stream, ret_error);\n\n"
              "    if (!result)\n"
              "        *ret_writer = (struct $f_writer *)stream;\n"
              "    return result;\n"
              "}\n\n"
              "int $f_send(struct $f_writer *writer,\n"
              "    const $q *message,\n"
              "    struct crownest_error *ret_error)\n"
              "{\n"
              "    return crownest_stream_send((struct crownest_stream *)writer,\n"
              "        &message->base, ret_error);\n"
              "}\n\n"
              "int $f_finish(struct $f_writer *writer,\n"
              "    $r **ret_response,\n"
              "    struct crownest_error *ret_error)\n"
              "{\n"
              "    ProtobufCMessage *response;\n"
              "    int result = crownest_stream_finish((struct crownest_stream *)writer,\n"
              "        &$s__descriptor, &response, ret_error);\n\n"
              "    if (!result)\n"
              "        *ret_response = ($r *)response;\n"
              "    return result;\n"
              "}\n\n"
              "void $f_cancel(struct $f_writer *writer)\n"
              "{\n"
              "    crownest_stream_cancel((struct crownest_stream *)writer);\n"
              "}\n\n"
              "void $f_free(struct $f_writer *writer)\n"
              "{\n"
              "    crownest_stream_free((struct crownest_stream *)writer);\n"
              "}\n",
};

static const struct shape *find_shape(const struct contract_method *method)
{
    if (method->client_streaming)
        return &client_stream;
    return method->server_streaming ? &server_stream : &unary;
}

static void write_shape(const char *text, const struct contract_method *method, FILE *out)
{
    for (; *text; text++) {
        if (*text != '$') {
            fputc(*text, out);
            continue;
        }
        switch (*++text) {
        case 'f':
            fprintf(out, "crownest_%s", method->lower);
            break;
        case 'q':
            fputs(method->input.type, out);
            break;
        case 'r':
            fputs(method->output.type, out);
            break;
        case 's':
            fputs(method->output.symbol, out);
            break;
        case 'p':
            fputs(method->path, out);
            break;
        }
    }
}

/* A proto comment as the inside of a C comment; its own end mark, should it hold one, is broken. */
static void write_comment(const char *comment, FILE *out)
{
    while (comment && *comment) {
        size_t len = strcspn(comment, "\n");

        fputs(" *", out);
        for (size_t i = 0; i < len; i++) {
            fputc(comment[i], out);
            if (comment[i] == '*' && i + 1 < len && comment[i + 1] == '/')
                fputc(' ', out);
        }
        fputc('\n', out);
        comment += len;
        if (*comment == '\n')
            comment++;
    }
}

static void write_method_comment(const struct contract_method *method, FILE *out)
{
    fprintf(out, "/*\n * %s\n", method->name);
    write_comment(method->comment, out);
    if (method->client_streaming)
        fputs(" * Open, send any number of messages, finish, free.\n", out);
    else if (method->server_streaming)
        fputs(" * Open, then call next until it returns no 1: 0 at the end, a negative errno on\n"
              " * failure; free in the end. Cancel may be called from any thread.\n",
              out);
    fprintf(out, " * What it returns is freed with %s__free_unpacked(it, NULL).\n",
            method->output.symbol);
    if (method->scope[0])
        fprintf(out, " * Scope: %s.\n", method->scope);
    else if (method->audience == CONTRACT_AUDIENCE_OPERATOR)
        fputs(" * For operators only.\n", out);
    else if (method->audience == CONTRACT_AUDIENCE_ANYONE)
        fputs(" * For anyone: no key is needed.\n", out);
    fputs(" */\n", out);
}

void c_client_write_header(const struct contract_service *service, FILE *out)
{
    fprintf(out,
            "/* Generated from the contract: %s calls. See bindings/c/client.h. */\n"
            "#pragma once\n\n#include \"bindings/c/client.h\"\n#include \"%s\"\n",
            service->noun, service->header);
    for (size_t i = 0; i < service->method_count; i++) {
        fputc('\n', out);
        write_method_comment(&service->methods[i], out);
        write_shape(find_shape(&service->methods[i])->header, &service->methods[i], out);
    }
}

void c_client_write_source(const struct contract_service *service, FILE *out)
{
    fprintf(out,
            "/* Generated from the contract. */\n#include \"bindings/c/crownest_%s.h\"\n\n"
            "#include \"bindings/c/call.h\"\n",
            service->noun);
    for (size_t i = 0; i < service->method_count; i++) {
        fputc('\n', out);
        write_shape(find_shape(&service->methods[i])->source, &service->methods[i], out);
    }
}
