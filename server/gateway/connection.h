/*
 * One visitor's connection: requests one after another, each with a connection of its own into the
 * sandbox, so that nothing of one visitor can reach another's. All of it belongs to the loop's
 * thread.
 *
 * Functions never free the connection while it is worked on: they mark it dead, and whoever was
 * called by the event loop frees it at the end.
 */
#pragma once

#include <arpa/inet.h>
#include <event2/bufferevent.h>

#include "server/gateway/forward.h"
#include "server/gateway/loop.h"

enum connection_state {
    CONNECTION_HEAD,    /* waits for a request's head */
    CONNECTION_CONNECT, /* waits for a socket into the sandbox */
    CONNECTION_RELAY,   /* passes a request up and its response down (relay.c) */
    CONNECTION_TUNNEL,  /* passes bytes both ways (tunnel.c) */
    CONNECTION_LINGER,  /* has its last answer; ends when the visitor has taken it */
};

struct connection {
    LIST_ENTRY(connection) link;
    struct gateway *gateway;
    enum connection_state state;
    struct bufferevent *visitor;
    struct bufferevent *app; /* into the sandbox, during RELAY and TUNNEL */
    struct event *timer;
    struct connector_job *job; /* during CONNECT */
    struct message *request;   /* from its first byte to the end of its exchange */
    struct message *response;  /* during RELAY */
    struct request head;       /* points into request */
    struct gateway_preview preview;
    char preview_id[GATEWAY_ID_SIZE];
    char peer[INET6_ADDRSTRLEN];
    enum forward_body body; /* of the response */
    unsigned interim;       /* 1xx answers that were skipped */
    bool request_sent;      /* to its end */
    bool visited;           /* somebody's token in a header was told of */
    bool answered;          /* the head of a response was sent */
    bool app_deaf;          /* the app takes no more of the request, but may still answer */
    bool shut;              /* our side, while lingering */
    bool visitor_closed;    /* a tunnel whose last bytes are on their way to the app */
    bool visitor_paused;    /* not read from */
    bool app_paused;
    bool dead;
    size_t discarded; /* while lingering */
};

/* Takes the socket. */
void connection_start(struct gateway *gateway, int fd);
/* The result of the connector's job; result is a socket or -errno. */
void connection_connected(struct connection *connection, int result);
/* Ends the exchanges whose preview has been closed, rotated or ended since they began. */
void connection_recheck_all(struct gateway *gateway);
void connection_free_all(struct gateway *gateway);

/* For relay.c and tunnel.c. */

/* Restarts the one timer; what its end means depends on the state. */
void connection_arm(struct connection *connection, uint32_t ms);
/* Answers with a page of our own and ends; if an answer has begun, only ends. */
void connection_answer(struct connection *connection, unsigned status);
/* Ends when the visitor has taken what is written. */
void connection_linger(struct connection *connection);
/* Forgets the request and all that belongs to it. */
void connection_end_exchange(struct connection *connection);
/* Moves all that is in one buffer to the end of another. */
void connection_pass(struct evbuffer *from, struct evbuffer *to);

/* One pass of RELAY; true when the state has changed and there may be more to do. */
bool relay_step(struct connection *connection);
void relay_app_closed(struct connection *connection);
void relay_timeout(struct connection *connection);

void tunnel_start(struct connection *connection);
void tunnel_step(struct connection *connection);
void tunnel_app_closed(struct connection *connection);
void tunnel_visitor_closed(struct connection *connection);
