/*
 * libFuzzer: a visitor's bytes, through head, checks, and body, to what the sandbox would get; and
 * the same bytes as an app's response to what the visitor would get. What comes out must be one
 * message, parse again, and hold nothing of ours.
 */
#include <event2/buffer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/gateway/credential.h"
#include "server/gateway/field.h"
#include "server/gateway/forward.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds, const char *what)
{
    if (holds)
        return;
    (void)fprintf(stderr, "broken: %s\n", what);
    abort();
}

static void read_to_end(struct message *message, struct evbuffer *input)
{
    struct evbuffer *body = evbuffer_new();

    while (!message->done && evbuffer_get_length(input) > 0 &&
           message_read_body(message, input, 1 << 16, body) == 0)
        (void)evbuffer_drain(body, evbuffer_get_length(body));
    evbuffer_free(body);
}

/* The head that was made is itself acceptable, and says the same about the body. */
static void check_request(const struct request *request)
{
    struct evbuffer *output = evbuffer_new();
    struct message again;
    struct request second;

    forward_request(request, "192.0.2.1", output);
    size_t size = evbuffer_get_length(output);
    const char *text = (const char *)evbuffer_pullup(output, -1);

    must(!memmem(text, size, "\n\r\n", 3) ||
             (const char *)memmem(text, size, "\n\r\n", 3) == text + size - 3,
         "one head");
    message_init(&again, HTTP_REQUEST);
    /* What is added may take a full head over the bounds; all else parses. */
    if (message_read_head(&again, output) == 1) {
        must(request_check(&again, "localhost", &second) == 0, "made head is refused");
        must(second.length == request->length && second.has_body == request->has_body &&
                 second.websocket == request->websocket &&
                 again.chunked == request->message->chunked,
             "made head says something else");
        for (unsigned i = 0; i < again.field_count; i++)
            must(!field_begins(message_name(&again, i), "X-CrowNest-"), "our field passed");
    } else {
        must(again.fault != 400, "made head is malformed");
    }
    message_done(&again);
    evbuffer_free(output);
}

static void try_request(const uint8_t *data, size_t size)
{
    static const uint8_t hash[GATEWAY_HASH_SIZE];
    struct credential_key key = {{0}};
    struct evbuffer *input = evbuffer_new();
    struct message message;
    struct request request;

    (void)evbuffer_add(input, data, size);
    message_init(&message, HTTP_REQUEST);
    if (message_read_head(&message, input) == 1 &&
        request_check(&message, "localhost", &request) == 0) {
        check_request(&request);
        must(credential_check(&key, &request, hash, 1) != CREDENTIAL_GOOD, "a guess was good");
        read_to_end(&message, input);
    }
    message_done(&message);
    evbuffer_free(input);
}

static void try_response(const uint8_t *data, size_t size)
{
    struct request request = {.keep_alive = true};
    struct evbuffer *input = evbuffer_new(), *output = evbuffer_new();
    struct message message;
    enum forward_body body;

    (void)evbuffer_add(input, data, size);
    message_init(&message, HTTP_RESPONSE);
    message.bodiless = size % 2;
    if (message_read_head(&message, input) == 1 &&
        forward_response(&message, &request, true, output, &body) == 0) {
        size_t made = evbuffer_get_length(output);
        const char *text = (const char *)evbuffer_pullup(output, -1);

        must((const char *)memmem(text, made, "\r\n\r\n", 4) == text + made - 4, "one head");
        read_to_end(&message, input);
        (void)message_close(&message);
    }
    message_done(&message);
    evbuffer_free(output);
    evbuffer_free(input);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    try_request(data, size);
    try_response(data, size);
    return 0;
}
