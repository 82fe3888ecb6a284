#include "tests/rpc/matrix_answer.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <grpc/byte_buffer_reader.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cmocka.h>

#define STREAM_MS 1000 /* a stream that was not refused may have nothing to say */
#define CALL_MS 20000
#define CALL_ID "req_"
#define CALL_ID_SIZE (sizeof(CALL_ID) - 1 + 26)

/* Callers */

static int connect_to(const struct sockaddr *address, socklen_t size)
{
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(connect(fd, address, size), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

static int connect_tcp(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

    return connect_to((const struct sockaddr *)&address, sizeof(address));
}

static int connect_local(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    return connect_to((const struct sockaddr *)&address, sizeof(address));
}

void caller_init(struct caller *caller, const char *socket_path, uint16_t port, const char *secret,
                 const char *project)
{
    client_init(&caller->client, port ? connect_tcp(port) : connect_local(socket_path));
    caller->client.project = project;
    if (!secret)
        return;
    (void)snprintf(caller->authorization, sizeof(caller->authorization), "Bearer %s", secret);
    caller->client.authorization = caller->authorization;
}

void caller_done(struct caller *caller)
{
    client_done(&caller->client);
}

/* Answers */

static void append(struct answer *answer, const void *data, size_t size)
{
    answer->bytes = realloc(answer->bytes, answer->size + size + 1);
    assert_non_null(answer->bytes);
    if (size > 0)
        memcpy(answer->bytes + answer->size, data, size);
    answer->size += size;
    answer->bytes[answer->size] = '\0';
}

static void append_buffer(struct answer *answer, grpc_byte_buffer *buffer)
{
    grpc_byte_buffer_reader reader;

    assert_true(grpc_byte_buffer_reader_init(&reader, buffer));
    grpc_slice slice = grpc_byte_buffer_reader_readall(&reader);

    append(answer, GRPC_SLICE_START_PTR(slice), GRPC_SLICE_LENGTH(slice));
    grpc_slice_unref(slice);
    grpc_byte_buffer_reader_destroy(&reader);
}

static void append_status(struct answer *answer, const struct client_call *call)
{
    Google__Rpc__ErrorInfo *info = client_error_info(call);

    answer->code = call->code;
    append(answer, &answer->code, sizeof(answer->code));
    append(answer, GRPC_SLICE_START_PTR(call->message), GRPC_SLICE_LENGTH(call->message));
    for (size_t i = 0; i < call->trailing.count; i++) {
        const grpc_metadata *entry = &call->trailing.metadata[i];

        append(answer, GRPC_SLICE_START_PTR(entry->key), GRPC_SLICE_LENGTH(entry->key));
        append(answer, GRPC_SLICE_START_PTR(entry->value), GRPC_SLICE_LENGTH(entry->value));
    }
    if (info) {
        (void)snprintf(answer->reason, sizeof(answer->reason), "%s", info->reason);
        google__rpc__error_info__free_unpacked(info, NULL);
    }
}

/* The one thing that is different in every answer. */
static void mask_call_id(struct answer *answer)
{
    for (size_t i = 0; i + CALL_ID_SIZE <= answer->size; i++) {
        if (memcmp(answer->bytes + i, CALL_ID, sizeof(CALL_ID) - 1) == 0)
            memset(answer->bytes + i, '#', CALL_ID_SIZE);
    }
}

struct answer answer_of(struct caller *caller, const struct rpc_method *method,
                        const ProtobufCMessage *request)
{
    struct answer answer = {0};
    struct client_call call;

    client_start_within(&caller->client, &call, method->path,
                        method->server_streaming ? STREAM_MS : CALL_MS);
    client_send_message(&call, request);
    client_close(&call);
    grpc_byte_buffer *first = client_receive(&call);

    if (first) {
        append_buffer(&answer, first);
        grpc_byte_buffer_destroy(first);
    }
    if (first && method->server_streaming) {
        client_cancel(&call);
        client_finish(&call);
    } else {
        client_finish(&call);
        append_status(&answer, &call);
    }
    mask_call_id(&answer);
    client_call_done(&call);
    return answer;
}

void answer_done(struct answer *answer)
{
    free(answer->bytes);
}

bool answers_equal(const struct answer *a, const struct answer *b)
{
    return a->code == b->code && a->size == b->size && memcmp(a->bytes, b->bytes, a->size) == 0;
}

bool answer_holds(const struct answer *answer, const char *text)
{
    return answer->size > 0 && memmem(answer->bytes, answer->size, text, strlen(text)) != NULL;
}
