/* One exchange: the request's body up, the response down, each no faster than it is taken. */
#include "server/gateway/connection.h"

static size_t waiting(struct bufferevent *stream)
{
    return evbuffer_get_length(bufferevent_get_output(stream));
}

/* Moves decoded body to a stream, framed as its side expects. */
static void emit(struct evbuffer *data, bool chunked, struct bufferevent *stream)
{
    struct evbuffer *output = bufferevent_get_output(stream);
    size_t size = evbuffer_get_length(data);

    if (size == 0)
        return;
    if (chunked)
        (void)evbuffer_add_printf(output, "%zx\r\n", size);
    connection_pass(data, output);
    if (chunked)
        (void)evbuffer_add(output, "\r\n", 2);
}

static void emit_end(bool chunked, struct bufferevent *stream)
{
    if (chunked)
        (void)evbuffer_add_printf(bufferevent_get_output(stream), "0\r\n\r\n");
}

static void relay_request(struct connection *connection)
{
    struct message *request = connection->request;
    struct evbuffer *input = bufferevent_get_input(connection->visitor);
    struct evbuffer *data = connection->gateway->scratch;

    while (!connection->request_sent && !connection->app_deaf &&
           waiting(connection->app) < GATEWAY_OUTPUT_BYTES &&
           (request->done || evbuffer_get_length(input) > 0)) {
        if (message_read_body(request, input, GATEWAY_INPUT_BYTES, data) != 0) {
            (void)evbuffer_drain(data, evbuffer_get_length(data));
            connection_answer(connection, request->fault);
            return;
        }
        emit(data, request->chunked, connection->app);
        if (request->done) {
            emit_end(request->chunked, connection->app);
            connection->request_sent = true;
        }
    }
}

/* Skips an interim answer; the gateway has said 100 itself. */
static int skip_interim(struct connection *connection)
{
    struct message *response = connection->response;
    bool bodiless = response->bodiless;

    if (++connection->interim > GATEWAY_INTERIM_ANSWERS)
        return -1;
    message_done(response);
    message_init(response, HTTP_RESPONSE);
    response->bodiless = bodiless;
    return 0;
}

/* 1: the head of the final answer is there; 0: more bytes are needed; -1: it is none. */
static int read_answer(struct connection *connection)
{
    struct message *response = connection->response;
    struct evbuffer *input = bufferevent_get_input(connection->app);

    for (;;) {
        int result = message_read_head(response, input);
        unsigned status = response->parser.status_code;

        if (result <= 0)
            return result < 0 ? -1 : 0;
        if (status < 100 || status > 599 || response->parser.http_major != 1 ||
            (status == 101) != response->upgraded || (status == 101 && !connection->head.websocket))
            return -1;
        if (status >= 200 || status == 101)
            return 1;
        if (skip_interim(connection) != 0)
            return -1;
    }
}

static void start_answer(struct connection *connection)
{
    struct request *head = &connection->head;
    struct evbuffer *output = bufferevent_get_output(connection->visitor);
    int result = read_answer(connection);

    if (result == 0)
        return;
    /* What follows a refused WebSocket handshake may be frames: not to be read as a request. */
    if (head->websocket)
        head->keep_alive = false;
    if (result < 0 || forward_response(connection->response, head, head->keep_alive, output,
                                       &connection->body) != 0) {
        connection_answer(connection, 502);
        return;
    }
    connection->answered = true;
    if (connection->response->upgraded)
        tunnel_start(connection);
}

/* all: without regard to what waits already; for the last, bounded, piece of a closed app. */
static void relay_response(struct connection *connection, bool all)
{
    struct message *response = connection->response;
    struct evbuffer *input = bufferevent_get_input(connection->app);
    struct evbuffer *data = connection->gateway->scratch;
    bool chunked = connection->body == FORWARD_CHUNKED;

    while (!response->done && evbuffer_get_length(input) > 0 &&
           (all || waiting(connection->visitor) < GATEWAY_OUTPUT_BYTES)) {
        int result = message_read_body(response, input, GATEWAY_INPUT_BYTES, data);

        emit(data, chunked, connection->visitor);
        if (result != 0) {
            connection_linger(connection);
            return;
        }
    }
    if (response->done)
        emit_end(chunked, connection->visitor);
}

static void finish(struct connection *connection)
{
    bool next = connection->head.keep_alive && connection->request_sent &&
                connection->body != FORWARD_CLOSE;

    if (!next) {
        connection_linger(connection);
        return;
    }
    connection_end_exchange(connection);
    connection->state = CONNECTION_HEAD;
    connection_arm(connection, connection->gateway->limits.keep_alive_ms);
}

/* Both directions as far as they go; `all` as above. */
static void relay(struct connection *connection, bool all)
{
    relay_request(connection);
    if (connection->state == CONNECTION_RELAY && !connection->answered && !connection->dead)
        start_answer(connection);
    if (connection->state == CONNECTION_RELAY && connection->answered && !connection->dead)
        relay_response(connection, all);
}

static uint32_t patience_ms(const struct connection *connection)
{
    const struct gateway_limits *limits = &connection->gateway->limits;

    if (connection->answered)
        return limits->stream_ms;
    return connection->request_sent || connection->app_deaf ? limits->answer_ms : limits->body_ms;
}

bool relay_step(struct connection *connection)
{
    relay(connection, false);
    if (connection->dead)
        return false;
    if (connection->state != CONNECTION_RELAY)
        return connection->state == CONNECTION_TUNNEL;
    connection_arm(connection, patience_ms(connection));
    if (!connection->answered || !connection->response->done)
        return false;
    finish(connection);
    return connection->state == CONNECTION_HEAD;
}

void relay_app_closed(struct connection *connection)
{
    connection->app_deaf = true;
    relay(connection, true);
    if (connection->dead || connection->state == CONNECTION_LINGER)
        return;
    if (connection->state == CONNECTION_TUNNEL) {
        tunnel_app_closed(connection);
        return;
    }
    if (!connection->answered) {
        connection_answer(connection, 502);
        return;
    }
    if (!connection->response->done) {
        /* Cut short: the visitor must not take it for the whole. */
        if (message_close(connection->response) != 0) {
            connection_linger(connection);
            return;
        }
        emit_end(connection->body == FORWARD_CHUNKED, connection->visitor);
    }
    finish(connection);
}

void relay_timeout(struct connection *connection)
{
    bool visitor_owes = !connection->request_sent && !connection->app_deaf &&
                        waiting(connection->app) < GATEWAY_OUTPUT_BYTES;

    connection_answer(connection, visitor_owes ? 408 : 504);
}
