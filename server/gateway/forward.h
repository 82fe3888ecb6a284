/*
 * The heads that the gateway sends: what of a request the sandbox may see, what of a response the
 * visitor may. Built anew from the parsed fields, never copied through. Pure.
 */
#pragma once

#include <event2/buffer.h>
#include <stdbool.h>

#include "server/gateway/credential.h"
#include "server/gateway/request.h"

/*
 * The request as the sandbox gets it. Left out: our token and cookie; any field with a secret of
 * CrowNest in it, Authorization included, while an app's own Authorization passes; what belongs to
 * the visitor's connection. X-Forwarded-* are ours alone. peer: the visitor's address, or "".
 */
void forward_request(const struct request *request, const char *peer, struct evbuffer *output);

/* How a response's body is delimited towards the visitor. */
enum forward_body {
    FORWARD_NONE,
    FORWARD_LENGTH,
    FORWARD_CHUNKED,
    FORWARD_CLOSE, /* by the end of the connection */
};

/*
 * The response as the visitor gets it. Domain attributes of cookies are dropped, so that a cookie
 * stays with its preview; cookies by our name are dropped whole. 0, or -EBADMSG when it does not
 * say unambiguously where it ends, or lists too much as its connection's own.
 */
int forward_response(const struct message *response, const struct request *request, bool keep_alive,
                     struct evbuffer *output, enum forward_body *ret_body);

/* The answer to a good token in the URL. */
void forward_exchange(const struct request *request, const char *session, struct evbuffer *output);
