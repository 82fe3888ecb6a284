/*
 * Previews: a port of a sandbox is reached with its token and not without, by requests, long bodies
 * and WebSockets, until the preview or the sandbox ends.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bindings/c/crownest_preview.h"
#include "tests/rpc/leftovers.h"
#include "tests/rpc/service_fixture.h"
#include "tests/rpc/steps.h"
#include "tests/rpc/visitor.h"

#define PORT 8080
#define DEAD_PORT 8081
#define LARGE (1U << 20)
#define LIMIT 32

/* Says what it was asked, counts its connections, echoes bodies and WebSocket frames. */
static const char app[] =
    "import base64, hashlib, http.server, socketserver\n"
    "class Handler(http.server.BaseHTTPRequestHandler):\n"
    "    protocol_version = 'HTTP/1.1'\n"
    "    def setup(self):\n"
    "        super().setup()\n"
    "        self.server.connections += 1\n"
    "        self.number = self.server.connections\n"
    "    def answer(self, body):\n"
    "        self.send_response(200)\n"
    "        self.send_header('Content-Length', str(len(body)))\n"
    "        self.end_headers()\n"
    "        self.wfile.write(body)\n"
    "    def do_GET(self):\n"
    "        if self.headers.get('Upgrade', '').lower() == 'websocket':\n"
    "            return self.websocket()\n"
    "        if self.path == '/chunks':\n"
    "            return self.chunks()\n"
    "        self.answer(f'{self.number} {self.path}\\n{self.headers}'.encode())\n"
    "    def do_POST(self):\n"
    "        self.answer(self.rfile.read(int(self.headers['Content-Length'])))\n"
    "    def chunks(self):\n"
    "        self.send_response(200)\n"
    "        self.send_header('Transfer-Encoding', 'chunked')\n"
    "        self.end_headers()\n"
    "        for part in (b'one', b'two', b''):\n"
    "            self.wfile.write(b'%x\\r\\n%s\\r\\n' % (len(part), part))\n"
    "    def websocket(self):\n"
    "        key = self.headers['Sec-WebSocket-Key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'\n"
    "        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()\n"
    "        self.send_response(101)\n"
    "        self.send_header('Upgrade', 'websocket')\n"
    "        self.send_header('Connection', 'Upgrade')\n"
    "        self.send_header('Sec-WebSocket-Accept', accept)\n"
    "        self.end_headers()\n"
    "        while True:\n"
    "            head = self.rfile.read(2)\n"
    "            if len(head) < 2:\n"
    "                break\n"
    "            mask = self.rfile.read(4)\n"
    "            data = self.rfile.read(head[1] & 127)\n"
    "            data = bytes(b ^ mask[i % 4] for i, b in enumerate(data))\n"
    "            self.wfile.write(bytes([head[0], len(data)]) + data)\n"
    "        self.close_connection = True\n"
    "class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):\n"
    "    daemon_threads = True\n"
    "    connections = 0\n"
    "server = Server(('127.0.0.1', 8080), Handler)\n"
    "print('listening', flush=True)\n"
    "server.serve_forever()\n";

static struct crownest_error error;

/* A sandbox whose app listens. */
static void start_app(struct crownest_client *client, char ret_sandbox_id[STEP_ID_SIZE])
{
    Crownest__V1__StreamLogsRequest request = CROWNEST__V1__STREAM_LOGS_REQUEST__INIT;
    Crownest__V1__StreamLogsResponse *message;
    struct crownest_command_stream_logs_reader *reader;
    char command_id[STEP_ID_SIZE];

    step_create(client, "python", ret_sandbox_id);
    step_write(client, ret_sandbox_id, "app.py", app, strlen(app));
    step_start(client, ret_sandbox_id, "exec python3 app.py 2>/dev/null", command_id);
    request.command_id = command_id;
    request.follow = true;
    assert_done(crownest_command_stream_logs_open(client, &request, NULL, &reader, &error), &error);
    assert_done(crownest_command_stream_logs_next(reader, &message, &error), &error);
    assert_int_equal(message->event->event_case, CROWNEST__V1__COMMAND_EVENT__EVENT_OUTPUT);
    crownest__v1__stream_logs_response__free_unpacked(message, NULL);
    crownest_command_stream_logs_free(reader);
}

struct preview {
    uint16_t port;
    char id[STEP_ID_SIZE];
    char host[128];
    char token[STEP_ID_SIZE];
};

static struct preview open_preview(const struct service *service, const char *sandbox_id,
                                   uint32_t port, const char *request_id)
{
    struct preview preview = {.port = service->port};
    Crownest__V1__CreatePreviewRequest request = CROWNEST__V1__CREATE_PREVIEW_REQUEST__INIT;
    Crownest__V1__CreatePreviewResponse *response;

    request.sandbox_id = STEP_TEXT(sandbox_id);
    request.port = port;
    request.request_id = STEP_TEXT(request_id);
    assert_done(crownest_preview_create(service->client, &request, NULL, &response, &error),
                &error);
    const char *url = response->preview->url;

    assert_int_equal(strncmp(url, "http://", 7), 0);
    assert_string_equal(url + strlen(url) - 1, "/");
    (void)snprintf(preview.host, sizeof(preview.host), "%.*s", (int)strlen(url) - 8, url + 7);
    (void)snprintf(preview.id, sizeof(preview.id), "%s", response->preview->preview_id);
    (void)snprintf(preview.token, sizeof(preview.token), "%s", response->token);
    crownest__v1__create_preview_response__free_unpacked(response, NULL);
    return preview;
}

static void delete_preview(struct crownest_client *client, const char *id)
{
    Crownest__V1__DeletePreviewRequest request = CROWNEST__V1__DELETE_PREVIEW_REQUEST__INIT;
    Crownest__V1__DeletePreviewResponse *response;

    request.preview_id = STEP_TEXT(id);
    assert_done(crownest_preview_delete(client, &request, NULL, &response, &error), &error);
    crownest__v1__delete_preview_response__free_unpacked(response, NULL);
}

/* One request on a connection of its own; header: a whole line or "". */
static struct answer ask(const struct preview *preview, const char *path, const char *header)
{
    int fd = visitor_connect(preview->port);

    visitor_sendf(fd, "GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", path, preview->host, header);
    struct answer answer = visitor_answer(fd);

    (void)close(fd);
    return answer;
}

static unsigned status_of(const struct preview *preview, const char *header)
{
    struct answer answer = ask(preview, "/", header);
    unsigned status = answer.status;

    answer_done(&answer);
    return status;
}

static unsigned status_with_token(const struct preview *preview, const char *token)
{
    char header[256];

    (void)snprintf(header, sizeof(header), "X-CrowNest-Preview-Token: %s\r\n", token);
    return status_of(preview, header);
}

static void a_preview_opens_to_its_token_only(void **state)
{
    struct service *service = service_of(state);
    char id[STEP_ID_SIZE];
    char longer[STEP_ID_SIZE + 1];

    start_app(service->client, id);
    struct preview preview = open_preview(service, id, PORT, "");
    struct preview second = open_preview(service, id, PORT, "");

    assert_int_equal(status_of(&preview, ""), 401);
    assert_int_equal(status_with_token(&preview, "wrong"), 401);
    assert_int_equal(status_with_token(&preview, second.token), 401);
    assert_int_equal(status_with_token(&preview, service->key), 401);
    (void)snprintf(longer, sizeof(longer), "%sx", preview.token);
    assert_int_equal(status_with_token(&preview, longer), 401);
    assert_int_equal(status_with_token(&preview, preview.token), 200);
    assert_int_equal(status_with_token(&second, second.token), 200);
    struct preview unknown = preview;

    (void)snprintf(unknown.host, sizeof(unknown.host), "prv-01h455vb4pex5vsknk084sn02q.localhost");
    assert_int_equal(status_with_token(&unknown, preview.token), 404);
    step_kill(service->client, id);
}

static void the_app_sees_the_request_without_the_token(void **state)
{
    struct service *service = service_of(state);
    char id[STEP_ID_SIZE];
    char header[256];

    start_app(service->client, id);
    struct preview preview = open_preview(service, id, PORT, "");

    (void)snprintf(header, sizeof(header), "X-CrowNest-Preview-Token: %s\r\nX-Mine: kept\r\n",
                   preview.token);
    struct answer answer = ask(&preview, "/some/path?with=query", header);

    assert_int_equal(answer.status, 200);
    assert_non_null(strstr(answer.body, " /some/path?with=query\n"));
    assert_non_null(strstr(answer.body, "X-Mine: kept"));
    assert_null(strstr(answer.body, preview.token));
    answer_done(&answer);
    step_kill(service->client, id);
}

static void a_token_in_the_url_is_exchanged_for_a_cookie(void **state)
{
    struct service *service = service_of(state);
    char id[STEP_ID_SIZE];
    char path[256];
    char value[1024];
    char cookie[1100];

    start_app(service->client, id);
    struct preview preview = open_preview(service, id, PORT, "");
    struct preview second = open_preview(service, id, PORT, "");

    (void)snprintf(path, sizeof(path), "/page?a=1&crownest_token=%s&b=2", preview.token);
    struct answer answer = ask(&preview, path, "");

    assert_int_equal(answer.status, 303);
    assert_non_null(answer_header(&answer, "Location", value));
    assert_string_equal(value, "/page?a=1&b=2");
    assert_non_null(answer_header(&answer, "Set-Cookie", value));
    assert_non_null(strstr(value, "HttpOnly"));
    assert_null(strstr(value, preview.token));
    value[strcspn(value, ";")] = '\0';
    (void)snprintf(cookie, sizeof(cookie), "Cookie: mine=1; %s\r\n", value);
    answer_done(&answer);
    answer = ask(&preview, "/", cookie);
    assert_int_equal(answer.status, 200);
    assert_non_null(strstr(answer.body, "mine=1"));
    assert_null(strstr(answer.body, value));
    answer_done(&answer);
    assert_int_equal(status_of(&second, cookie), 401);
    step_kill(service->client, id);
}

static uint64_t egress_of(struct crownest_client *client, const char *id)
{
    Crownest__V1__Receipt *receipt = step_receipt(client, id);
    uint64_t bytes = receipt->egress_bytes;

    crownest__v1__receipt__free_unpacked(receipt, NULL);
    return bytes;
}

/* Of what goes to visitors, and of nothing that they send. */
static void what_visitors_are_sent_is_on_the_receipt(void **state)
{
    struct service *service = service_of(state);
    static char body[LARGE];
    char id[STEP_ID_SIZE];

    start_app(service->client, id);
    struct preview preview = open_preview(service, id, PORT, "");
    int fd = visitor_connect(preview.port);

    visitor_sendf(fd,
                  "POST / HTTP/1.1\r\nHost: %s\r\nX-CrowNest-Preview-Token: %s\r\n"
                  "Content-Length: %u\r\n\r\n",
                  preview.host, preview.token, LARGE);
    visitor_send(fd, body, LARGE);
    struct answer echo = visitor_answer(fd);

    assert_int_equal(echo.size, LARGE);
    answer_done(&echo);
    (void)close(fd);
    /* The last of them are counted just after they are sent. */
    while (egress_of(service->client, id) < LARGE)
        ;
    step_kill(service->client, id);
    assert_in_range(egress_of(service->client, id), LARGE, LARGE + 4096);
}

static void a_connection_is_kept_for_more_requests(void **state)
{
    struct service *service = service_of(state);
    static char body[LARGE];
    char id[STEP_ID_SIZE];

    start_app(service->client, id);
    struct preview preview = open_preview(service, id, PORT, "");
    int fd = visitor_connect(preview.port);

    for (size_t i = 0; i < 3; i++) {
        visitor_sendf(fd, "GET /%zu HTTP/1.1\r\nHost: %s\r\nX-CrowNest-Preview-Token: %s\r\n\r\n",
                      i, preview.host, preview.token);
        struct answer answer = visitor_answer(fd);

        assert_int_equal(answer.status, 200);
        answer_done(&answer);
    }
    for (size_t i = 0; i < LARGE; i++)
        body[i] = (char)(i * 7);
    visitor_sendf(fd,
                  "POST / HTTP/1.1\r\nHost: %s\r\nX-CrowNest-Preview-Token: %s\r\n"
                  "Content-Length: %u\r\n\r\n",
                  preview.host, preview.token, LARGE);
    visitor_send(fd, body, LARGE);
    struct answer echo = visitor_answer(fd);

    assert_int_equal(echo.status, 200);
    assert_int_equal(echo.size, LARGE);
    assert_int_equal(memcmp(echo.body, body, LARGE), 0);
    answer_done(&echo);
    visitor_sendf(fd, "GET /chunks HTTP/1.1\r\nHost: %s\r\nX-CrowNest-Preview-Token: %s\r\n\r\n",
                  preview.host, preview.token);
    struct answer chunks = visitor_answer(fd);

    assert_int_equal(chunks.status, 200);
    assert_string_equal(chunks.body, "onetwo");
    answer_done(&chunks);
    (void)close(fd);
    step_kill(service->client, id);
}

static int open_websocket(const struct preview *preview)
{
    char value[1024];
    int fd = visitor_connect(preview->port);

    visitor_sendf(fd,
                  "GET /socket HTTP/1.1\r\nHost: %s\r\nX-CrowNest-Preview-Token: %s\r\n"
                  "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                  preview->host, preview->token);
    struct answer answer = visitor_answer(fd);

    assert_int_equal(answer.status, 101);
    assert_non_null(answer_header(&answer, "Sec-WebSocket-Accept", value));
    assert_string_equal(value, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    return fd;
}

static void assert_echo(int fd, const char *text)
{
    uint8_t frame[2 + 4 + 125] = {0x81};
    uint8_t answer[2 + 125];
    size_t size = strlen(text);

    frame[1] = (uint8_t)(0x80 | size);
    memcpy(frame + 2, "\x11\x22\x33\x44", 4);
    for (size_t i = 0; i < size; i++)
        frame[6 + i] = (uint8_t)text[i] ^ frame[2 + i % 4];
    visitor_send(fd, frame, 6 + size);
    assert_int_equal(visitor_read(fd, answer, 2 + size), 2 + size);
    assert_int_equal(answer[0], 0x81);
    assert_int_equal(answer[1], size);
    assert_memory_equal(answer + 2, text, size);
}

static void a_websocket_echoes_until_the_preview_is_deleted(void **state)
{
    struct service *service = service_of(state);
    char id[STEP_ID_SIZE];
    char byte;

    start_app(service->client, id);
    struct preview preview = open_preview(service, id, PORT, "");
    int fd = open_websocket(&preview);

    assert_echo(fd, "hello");
    assert_echo(fd, "and again");
    delete_preview(service->client, preview.id);
    assert_int_equal(status_with_token(&preview, preview.token), 404);
    /* What was open is closed too, though not in the same instant. */
    assert_int_equal(visitor_read(fd, &byte, 1), 0);
    (void)close(fd);
    step_kill(service->client, id);
}

static void a_killed_sandbox_is_gone_for_its_visitors(void **state)
{
    struct service *service = service_of(state);
    char id[STEP_ID_SIZE];
    char byte;

    start_app(service->client, id);
    struct preview preview = open_preview(service, id, PORT, "");
    int fd = open_websocket(&preview);

    assert_echo(fd, "hello");
    step_kill(service->client, id);
    assert_int_equal(visitor_read(fd, &byte, 1), 0);
    assert_int_equal(status_with_token(&preview, preview.token), 410);
    assert_int_equal(status_of(&preview, ""), 401);
    (void)close(fd);
}

static void a_port_without_a_listener_is_a_bad_gateway(void **state)
{
    struct service *service = service_of(state);
    char id[STEP_ID_SIZE];

    step_create(service->client, "base", id);
    struct preview preview = open_preview(service, id, DEAD_PORT, "");

    assert_int_equal(status_with_token(&preview, preview.token), 502);
    step_kill(service->client, id);
}

static void a_retry_gives_a_fresh_token_and_the_old_one_opens_nothing(void **state)
{
    struct service *service = service_of(state);
    char id[STEP_ID_SIZE];

    start_app(service->client, id);
    struct preview first = open_preview(service, id, PORT, "retried");
    struct preview second = open_preview(service, id, PORT, "retried");

    assert_string_equal(first.id, second.id);
    assert_int_equal(status_with_token(&first, first.token), 401);
    assert_int_equal(status_with_token(&second, second.token), 200);
    step_kill(service->client, id);
}

static int create(struct crownest_client *client, const char *sandbox_id, uint32_t port)
{
    Crownest__V1__CreatePreviewRequest request = CROWNEST__V1__CREATE_PREVIEW_REQUEST__INIT;
    Crownest__V1__CreatePreviewResponse *response;

    request.sandbox_id = STEP_TEXT(sandbox_id);
    request.port = port;
    int result = crownest_preview_create(client, &request, NULL, &response, &error);

    if (result == 0)
        crownest__v1__create_preview_response__free_unpacked(response, NULL);
    return result;
}

static void a_bad_port_and_one_too_many_are_refused(void **state)
{
    struct service *service = service_of(state);
    const uint32_t bad[] = {0, 65536, 70000, UINT32_MAX};
    char id[STEP_ID_SIZE];

    step_create(service->client, "base", id);
    struct leftovers before = leftovers_count(service, id);

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_refused(create(service->client, id, bad[i]), &error, 3, "PORT_INVALID", "port");
    assert_nothing_left(service, id, &before, "bad ports");
    for (uint32_t i = 0; i < LIMIT; i++)
        assert_done(create(service->client, id, 1 + i * 2000), &error);
    assert_refused(create(service->client, id, PORT), &error, 8, "PREVIEW_LIMIT", "");
    step_kill(service->client, id);
    assert_refused(create(service->client, id, PORT), &error, 9, "SANDBOX_NOT_RUNNING",
                   "sandbox_id");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_preview_opens_to_its_token_only),
        cmocka_unit_test(the_app_sees_the_request_without_the_token),
        cmocka_unit_test(a_token_in_the_url_is_exchanged_for_a_cookie),
        cmocka_unit_test(what_visitors_are_sent_is_on_the_receipt),
        cmocka_unit_test(a_connection_is_kept_for_more_requests),
        cmocka_unit_test(a_websocket_echoes_until_the_preview_is_deleted),
        cmocka_unit_test(a_killed_sandbox_is_gone_for_its_visitors),
        cmocka_unit_test(a_port_without_a_listener_is_a_bad_gateway),
        cmocka_unit_test(a_retry_gives_a_fresh_token_and_the_old_one_opens_nothing),
        cmocka_unit_test(a_bad_port_and_one_too_many_are_refused),
        cmocka_unit_test(service_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, service_setup_pooled, service_teardown);
}
