/* A WebSocket: bytes both ways, each no faster than they are taken. */
#include "server/gateway/connection.h"

static void move(struct bufferevent *from, struct bufferevent *to)
{
    struct evbuffer *output = bufferevent_get_output(to);

    if (evbuffer_get_length(output) < GATEWAY_OUTPUT_BYTES)
        connection_pass(bufferevent_get_input(from), output);
}

void tunnel_start(struct connection *connection)
{
    connection->state = CONNECTION_TUNNEL;
}

void tunnel_step(struct connection *connection)
{
    if (connection->visitor_closed) {
        connection->dead = evbuffer_get_length(bufferevent_get_output(connection->app)) == 0;
        return;
    }
    move(connection->visitor, connection->app);
    move(connection->app, connection->visitor);
    connection_arm(connection, connection->gateway->limits.tunnel_ms);
}

void tunnel_app_closed(struct connection *connection)
{
    connection_pass(bufferevent_get_input(connection->app),
                    bufferevent_get_output(connection->visitor));
    connection_linger(connection);
}

/* A close frame is often followed by the close at once: the app still gets the frame. */
void tunnel_visitor_closed(struct connection *connection)
{
    connection_pass(bufferevent_get_input(connection->visitor),
                    bufferevent_get_output(connection->app));
    (void)bufferevent_disable(connection->app, EV_READ);
    connection->visitor_closed = true;
    connection_arm(connection, connection->gateway->limits.linger_ms);
    connection->dead = evbuffer_get_length(bufferevent_get_output(connection->app)) == 0;
}
