#include "server/gateway/connection.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/gateway/page.h"
#include "server/util/clock.h"

void connection_arm(struct connection *connection, uint32_t ms)
{
    struct timeval wait = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

    (void)event_add(connection->timer, &wait);
}

/*
 * A piece that is moved keeps a block of its own, of a kilobyte at least, whatever is in it: who
 * sends single bytes to somebody who takes none would have a thousand times their memory of us.
 */
void connection_pass(struct evbuffer *from, struct evbuffer *to)
{
    size_t size = evbuffer_get_length(from);

    if (size >= GATEWAY_PIECE_BYTES) {
        (void)evbuffer_add_buffer(to, from);
        return;
    }
    (void)evbuffer_add(to, evbuffer_pullup(from, -1), size);
    (void)evbuffer_drain(from, size);
}

static void free_message(struct message **message)
{
    if (*message)
        message_done(*message);
    free(*message);
    *message = NULL;
}

static void drop_app(struct connection *connection)
{
    if (connection->job)
        connector_abandon(connection->gateway->connector, connection->job);
    connection->job = NULL;
    if (connection->app)
        bufferevent_free(connection->app);
    connection->app = NULL;
    connection->app_paused = false;
}

void connection_end_exchange(struct connection *connection)
{
    drop_app(connection);
    free_message(&connection->request);
    free_message(&connection->response);
    connection->interim = 0;
    connection->request_sent = false;
    connection->answered = false;
    connection->app_deaf = false;
}

static void connection_free(struct connection *connection)
{
    connection_end_exchange(connection);
    LIST_REMOVE(connection, link);
    event_free(connection->timer);
    bufferevent_free(connection->visitor);
    (void)atomic_fetch_sub(&connection->gateway->open, 1);
    free(connection);
}

/*
 * Closing a socket with unread bytes resets it, and the reset can overtake the answer. So: write,
 * shut, then throw away what still comes, for a bounded time and size.
 */
static void linger_step(struct connection *connection)
{
    struct evbuffer *input = bufferevent_get_input(connection->visitor);
    size_t size = evbuffer_get_length(input);

    (void)evbuffer_drain(input, size);
    connection->discarded += size;
    if (connection->discarded > GATEWAY_LINGER_BYTES)
        connection->dead = true;
    if (connection->shut || evbuffer_get_length(bufferevent_get_output(connection->visitor)) > 0)
        return;
    connection->shut = true;
    (void)shutdown(bufferevent_getfd(connection->visitor), SHUT_WR);
    connection_arm(connection, connection->gateway->limits.linger_ms);
}

void connection_linger(struct connection *connection)
{
    connection_end_exchange(connection);
    connection->state = CONNECTION_LINGER;
    connection_arm(connection, connection->gateway->limits.body_ms);
    linger_step(connection);
}

void connection_answer(struct connection *connection, unsigned status)
{
    const struct message *request = connection->request;
    bool is_head = request && request->head_done && request->parser.method == HTTP_HEAD;

    if (connection->answered) {
        connection->dead = true;
        return;
    }
    page_write(status, is_head, bufferevent_get_output(connection->visitor));
    connection_linger(connection);
}

static void exchange_token(struct connection *connection)
{
    char session[CREDENTIAL_SESSION_SIZE];
    uint64_t expiry_s = clock_wall_ms() / 1000 + CREDENTIAL_SESSION_S;

    credential_session(&connection->gateway->key, connection->preview_id,
                       connection->preview.token_hash, expiry_s, session);
    forward_exchange(&connection->head, session, bufferevent_get_output(connection->visitor));
    connection_linger(connection);
}

static void tell_visit(struct connection *connection, enum credential credential)
{
    const struct gateway_hooks *hooks = &connection->gateway->hooks;

    if (!hooks->visited || credential == CREDENTIAL_GOOD || credential == CREDENTIAL_FOREIGN)
        return;
    if (credential == CREDENTIAL_TOKEN && connection->visited)
        return;
    connection->visited = credential == CREDENTIAL_TOKEN;
    hooks->visited(hooks->arg, connection->preview_id,
                   credential == CREDENTIAL_EXCHANGE ? GATEWAY_VISIT_URL
                   : credential == CREDENTIAL_TOKEN  ? GATEWAY_VISIT_HEADER
                                                     : GATEWAY_VISIT_REFUSED);
}

/* Who may not: the status to say so. Whether a sandbox has ended is told to its visitors only. */
static unsigned refuse(struct connection *connection, enum credential *ret_credential)
{
    struct gateway *gateway = connection->gateway;
    const struct request *head = &connection->head;

    if (head->host_kind != HOST_PREVIEW)
        return head->host_kind == HOST_DOMAIN ? PAGE_DOMAIN : 404;
    memcpy(connection->preview_id, head->preview_id, sizeof(connection->preview_id));
    enum gateway_lookup lookup =
        gateway->hooks.lookup(gateway->hooks.arg, head->preview_id, &connection->preview);

    if (lookup == GATEWAY_MISSING)
        return 404;
    *ret_credential = credential_check(&gateway->key, head, connection->preview.token_hash,
                                       clock_wall_ms() / 1000);
    tell_visit(connection, *ret_credential);
    if (*ret_credential == CREDENTIAL_NONE)
        return 401;
    if (*ret_credential == CREDENTIAL_FOREIGN)
        return 403;
    return lookup == GATEWAY_ENDED ? 410 : 0;
}

static void dispatch(struct connection *connection)
{
    struct gateway *gateway = connection->gateway;
    enum credential credential = CREDENTIAL_NONE;
    unsigned status = request_check(connection->request, gateway->domain, &connection->head);

    if (!status)
        status = refuse(connection, &credential);
    if (status) {
        connection_answer(connection, status);
        return;
    }
    if (credential == CREDENTIAL_EXCHANGE) {
        exchange_token(connection);
        return;
    }
    connection->job = connector_submit(gateway->connector, connection->preview.sandbox_id,
                                       connection->preview_id, connection);
    if (!connection->job) {
        connection_answer(connection, 503);
        return;
    }
    connection->state = CONNECTION_CONNECT;
    connection_arm(connection, gateway->limits.connect_ms);
}

static struct message *new_message(llhttp_type_t type)
{
    struct message *message = malloc(sizeof(*message));

    if (!message)
        abort();
    message_init(message, type);
    return message;
}

static void head_step(struct connection *connection)
{
    struct evbuffer *input = bufferevent_get_input(connection->visitor);
    struct evbuffer *output = bufferevent_get_output(connection->visitor);

    /* Whoever sends requests without taking the responses gets no further ones. */
    if (evbuffer_get_length(input) == 0 || evbuffer_get_length(output) >= GATEWAY_OUTPUT_BYTES)
        return;
    if (!connection->request) {
        connection->request = new_message(HTTP_REQUEST);
        connection_arm(connection, connection->gateway->limits.head_ms);
    }
    int result = message_read_head(connection->request, input);

    if (result < 0)
        connection_answer(connection, connection->request->fault);
    else if (result > 0)
        dispatch(connection);
}

static void advance(struct connection *connection)
{
    bool more = true;

    while (more && !connection->dead) {
        more = false;
        if (connection->state == CONNECTION_HEAD)
            head_step(connection);
        else if (connection->state == CONNECTION_RELAY)
            more = relay_step(connection);
        else if (connection->state == CONNECTION_TUNNEL)
            tunnel_step(connection);
        else if (connection->state == CONNECTION_LINGER)
            linger_step(connection);
    }
}

/*
 * Stops reading while much has been read and cannot be passed on. A high watermark would do so too,
 * but with that libevent calls for what it holds back, again and again.
 */
static void pace(struct bufferevent *stream, bool *paused)
{
    bool full = evbuffer_get_length(bufferevent_get_input(stream)) >= GATEWAY_INPUT_BYTES;

    if (full && !*paused)
        (void)bufferevent_disable(stream, EV_READ);
    else if (!full && *paused)
        (void)bufferevent_enable(stream, EV_READ);
    *paused = full;
}

/* The end of whatever the event loop has called. */
static void settle(struct connection *connection)
{
    if (connection->dead) {
        connection_free(connection);
        return;
    }
    pace(connection->visitor, &connection->visitor_paused);
    if (connection->app && !connection->visitor_closed)
        pace(connection->app, &connection->app_paused);
}

static void on_data(struct bufferevent *bufferevent, void *arg)
{
    (void)bufferevent;
    advance(arg);
    settle(arg);
}

static void on_visitor_event(struct bufferevent *bufferevent, short what, void *arg)
{
    struct connection *connection = arg;
    bool only_half = (what & BEV_EVENT_EOF) && connection->state == CONNECTION_LINGER &&
                     evbuffer_get_length(bufferevent_get_output(bufferevent)) > 0;

    if (connection->state == CONNECTION_TUNNEL && !(what & BEV_EVENT_ERROR))
        tunnel_visitor_closed(connection);
    else if (!only_half)
        connection->dead = true;
    settle(connection);
}

static void on_app_event(struct bufferevent *bufferevent, short what, void *arg)
{
    struct connection *connection = arg;

    if ((what & BEV_EVENT_ERROR) && (what & BEV_EVENT_WRITING)) {
        /* It may have answered before it closed: read on. */
        connection->app_deaf = true;
        (void)bufferevent_disable(bufferevent, EV_WRITE);
    } else if (connection->state == CONNECTION_TUNNEL) {
        tunnel_app_closed(connection);
    } else {
        relay_app_closed(connection);
    }
    advance(connection);
    settle(connection);
}

static void on_timeout(evutil_socket_t fd, short what, void *arg)
{
    struct connection *connection = arg;

    (void)fd;
    (void)what;
    if (connection->state == CONNECTION_HEAD && connection->request)
        connection_answer(connection, 408);
    else if (connection->state == CONNECTION_CONNECT)
        connection_answer(connection, 504);
    else if (connection->state == CONNECTION_RELAY)
        relay_timeout(connection);
    else
        connection->dead = true;
    settle(connection);
}

static struct bufferevent *new_stream(struct connection *connection, int fd,
                                      bufferevent_event_cb on_event)
{
    int on = 1;

    (void)evutil_make_socket_nonblocking(fd);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    struct bufferevent *stream =
        bufferevent_socket_new(connection->gateway->base, fd, BEV_OPT_CLOSE_ON_FREE);

    if (!stream)
        abort();
    bufferevent_setcb(stream, on_data, on_data, on_event, connection);
    bufferevent_setwatermark(stream, EV_WRITE, GATEWAY_OUTPUT_BYTES / 2, 0);
    (void)bufferevent_set_max_single_read(stream, GATEWAY_INPUT_BYTES);
    (void)bufferevent_enable(stream, EV_READ | EV_WRITE);
    return stream;
}

/* The visitor's address, or nothing when it has none. */
static void name_peer(int fd, char ret_peer[INET6_ADDRSTRLEN])
{
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof(address);

    ret_peer[0] = 0;
    if (getpeername(fd, (struct sockaddr *)&address, &size) != 0)
        return;
    if (address.ss_family == AF_INET)
        (void)inet_ntop(AF_INET, &((struct sockaddr_in *)&address)->sin_addr, ret_peer,
                        INET6_ADDRSTRLEN);
    else if (address.ss_family == AF_INET6)
        (void)inet_ntop(AF_INET6, &((struct sockaddr_in6 *)&address)->sin6_addr, ret_peer,
                        INET6_ADDRSTRLEN);
}

void connection_start(struct gateway *gateway, int fd)
{
    struct connection *connection = calloc(1, sizeof(*connection));

    if (!connection)
        abort();
    connection->gateway = gateway;
    connection->timer = evtimer_new(gateway->base, on_timeout, connection);
    if (!connection->timer)
        abort();
    name_peer(fd, connection->peer);
    connection->visitor = new_stream(connection, fd, on_visitor_event);
    LIST_INSERT_HEAD(&gateway->connections, connection, link);
    connection_arm(connection, gateway->limits.head_ms);
}

void connection_connected(struct connection *connection, int result)
{
    connection->job = NULL;
    if (result < 0) {
        connection_answer(connection, result == -ETIMEDOUT ? 504 : 502);
        settle(connection);
        return;
    }
    connection->app = new_stream(connection, result, on_app_event);
    connection->response = new_message(HTTP_RESPONSE);
    connection->response->bodiless = connection->head.is_head;
    connection->state = CONNECTION_RELAY;
    forward_request(&connection->head, connection->peer, bufferevent_get_output(connection->app));
    if (connection->head.expects_continue)
        (void)evbuffer_add_printf(bufferevent_get_output(connection->visitor),
                                  "HTTP/1.1 100 Continue\r\n\r\n");
    advance(connection);
    settle(connection);
}

static bool is_revoked(const struct connection *connection)
{
    const struct gateway_hooks *hooks = &connection->gateway->hooks;
    struct gateway_preview now = {0};

    if (connection->state == CONNECTION_HEAD || connection->state == CONNECTION_LINGER)
        return false;
    return hooks->lookup(hooks->arg, connection->preview_id, &now) != GATEWAY_OPEN ||
           memcmp(now.token_hash, connection->preview.token_hash, sizeof(now.token_hash)) != 0;
}

void connection_recheck_all(struct gateway *gateway)
{
    struct connection *connection, *next;

    for (connection = LIST_FIRST(&gateway->connections); connection; connection = next) {
        next = LIST_NEXT(connection, link);
        if (is_revoked(connection))
            connection_free(connection);
    }
}

void connection_free_all(struct gateway *gateway)
{
    struct connection *connection;

    while ((connection = LIST_FIRST(&gateway->connections)))
        connection_free(connection);
}
