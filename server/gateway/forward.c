#include "server/gateway/forward.h"

#include <errno.h>

#include "server/gateway/field.h"

static void add(struct evbuffer *output, struct bytes text)
{
    (void)evbuffer_add(output, text.data, text.size);
}

static void add_field(struct evbuffer *output, struct bytes name, struct bytes value)
{
    add(output, name);
    (void)evbuffer_add(output, ": ", 2);
    add(output, value);
    (void)evbuffer_add(output, "\r\n", 2);
}

/* Whether a Connection field of the message names it. */
static bool is_named(const struct message *message, struct bytes name)
{
    for (unsigned i = 0; i < message->field_count; i++) {
        if (!field_is(message_name(message, i), "Connection"))
            continue;
        struct bytes list = message_value(message, i);
        struct bytes item;

        while (field_list_next(&list, &item)) {
            if (item.size == name.size &&
                strncasecmp((const char *)item.data, (const char *)name.data, name.size) == 0)
                return true;
        }
    }
    return false;
}

/* A Cookie field without the pairs that are ours or carry a secret; nothing if none is left. */
static void add_cookies(struct evbuffer *output, struct bytes name, struct bytes cookies)
{
    cleanup_buf struct buf kept = {0};
    struct bytes pair;

    while (field_split_next(&cookies, ';', &pair)) {
        pair = field_trim(pair);
        if (pair.size == 0 || field_begins(pair, CREDENTIAL_COOKIE "=") || field_has_secret(pair))
            continue;
        if (kept.size > 0)
            buf_append(&kept, "; ", 2);
        buf_append(&kept, pair.data, pair.size);
    }
    if (kept.size > 0)
        add_field(output, name, buf_bytes(&kept));
}

static void add_forwarded(struct evbuffer *output, const struct request *request, const char *peer)
{
    if (peer[0])
        (void)evbuffer_add_printf(output, "X-Forwarded-For: %s\r\n", peer);
    (void)evbuffer_add_printf(output, "X-Forwarded-Proto: http\r\n");
    add_field(output, bytes_of_string("X-Forwarded-Host"), request->host);
}

static bool request_field_passes(const struct message *message, struct bytes name)
{
    return !field_is(name, "Host") && !field_is(name, "Content-Length") && !field_is_hop(name) &&
           !field_is_reserved(name) && !is_named(message, name);
}

void forward_request(const struct request *request, const char *peer, struct evbuffer *output)
{
    const struct message *message = request->message;

    (void)evbuffer_add_printf(output, "%s ", request->method);
    add(output, request->target);
    (void)evbuffer_add_printf(output, " HTTP/1.1\r\n");
    add_field(output, bytes_of_string("Host"), request->host);
    for (unsigned i = 0; i < message->field_count; i++) {
        struct bytes name = message_name(message, i);
        struct bytes value = field_trim(message_value(message, i));

        if (!request_field_passes(message, name))
            continue;
        if (field_is(name, "Cookie"))
            add_cookies(output, name, value);
        else if (!field_has_secret(value))
            add_field(output, name, value);
    }
    add_forwarded(output, request, peer);
    if (message->chunked)
        (void)evbuffer_add_printf(output, "Transfer-Encoding: chunked\r\n");
    else if (message->has_length)
        (void)evbuffer_add_printf(output, "Content-Length: %llu\r\n",
                                  (unsigned long long)request->length);
    if (request->websocket)
        (void)evbuffer_add_printf(output, "Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
    else
        (void)evbuffer_add_printf(output, "Connection: close\r\n\r\n");
}

static void add_set_cookie(struct evbuffer *output, struct bytes name, struct bytes cookie)
{
    cleanup_buf struct buf kept = {0};
    struct bytes part;

    /* Without a name the value would come back as if it were one: "=crownest_preview=x". */
    if (!field_split_next(&cookie, ';', &part))
        return;
    struct bytes value = field_trim(part), cookie_name;

    if (!memchr(value.data, '=', value.size) || !field_split_next(&value, '=', &cookie_name) ||
        field_trim(cookie_name).size == 0 || field_is(field_trim(cookie_name), CREDENTIAL_COOKIE))
        return;
    buf_append(&kept, part.data, part.size);
    while (field_split_next(&cookie, ';', &part)) {
        struct bytes attribute = field_trim(part), key;

        if (field_split_next(&attribute, '=', &key) && field_is(field_trim(key), "Domain"))
            continue;
        buf_append(&kept, ";", 1);
        buf_append(&kept, part.data, part.size);
    }
    add_field(output, name, buf_bytes(&kept));
}

/* Alt-Svc would send the visitor's browser past the gateway. */
static bool response_field_passes(const struct message *message, struct bytes name)
{
    return !field_is(name, "Content-Length") && !field_is(name, "Alt-Svc") && !field_is_hop(name) &&
           !field_begins(name, "X-CrowNest-") && !is_named(message, name);
}

static unsigned count(const struct message *message, const char *name)
{
    unsigned found = 0;

    for (unsigned i = 0; i < message->field_count; i++)
        found += field_is(message_name(message, i), name);
    return found;
}

/* What each field costs must be bounded: the time of one thread is every visitor's. */
static int check_fields(const struct message *response)
{
    size_t named = 0;

    for (unsigned i = 0; i < response->field_count; i++) {
        if (!field_is_token(message_name(response, i)))
            return -EBADMSG;
        if (field_is(message_name(response, i), "Connection"))
            named += message_value(response, i).size;
    }
    return named > GATEWAY_CONNECTION_BYTES ? -EBADMSG : 0;
}

static int choose_body(const struct message *response, const struct request *request,
                       enum forward_body *ret_body)
{
    unsigned lengths = count(response, "Content-Length");
    unsigned codings = count(response, "Transfer-Encoding");
    bool plain_chunked = false;

    for (unsigned i = 0; i < response->field_count; i++) {
        if (field_is(message_name(response, i), "Transfer-Encoding"))
            plain_chunked = field_is(field_trim(message_value(response, i)), "chunked");
    }
    if (lengths + codings > 1 || (codings && (!plain_chunked || response->parser.http_minor == 0)))
        return -EBADMSG;
    if (response->done)
        *ret_body = FORWARD_NONE;
    else if (lengths)
        *ret_body = FORWARD_LENGTH;
    else
        *ret_body = request->http10 ? FORWARD_CLOSE : FORWARD_CHUNKED;
    return 0;
}

static void add_delimiter(const struct message *response, enum forward_body body, bool keep_alive,
                          struct evbuffer *output)
{
    bool may_have_length = response->parser.status_code != 204 && !response->upgraded;

    if (response->has_length && may_have_length)
        (void)evbuffer_add_printf(output, "Content-Length: %llu\r\n",
                                  (unsigned long long)response->parser.content_length);
    else if (body == FORWARD_CHUNKED)
        (void)evbuffer_add_printf(output, "Transfer-Encoding: chunked\r\n");
    if (response->upgraded)
        (void)evbuffer_add_printf(output, "Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
    else if (keep_alive && body != FORWARD_CLOSE)
        (void)evbuffer_add_printf(output, "\r\n");
    else
        (void)evbuffer_add_printf(output, "Connection: close\r\n\r\n");
}

int forward_response(const struct message *response, const struct request *request, bool keep_alive,
                     struct evbuffer *output, enum forward_body *ret_body)
{
    enum forward_body body;

    if (check_fields(response) != 0 || choose_body(response, request, &body) != 0)
        return -EBADMSG;
    (void)evbuffer_add_printf(output, "HTTP/1.1 %u ", (unsigned)response->parser.status_code);
    add(output, message_start(response));
    (void)evbuffer_add(output, "\r\n", 2);
    for (unsigned i = 0; i < response->field_count; i++) {
        struct bytes name = message_name(response, i);
        struct bytes value = field_trim(message_value(response, i));

        if (!response_field_passes(response, name))
            continue;
        if (field_is(name, "Set-Cookie"))
            add_set_cookie(output, name, value);
        else
            add_field(output, name, value);
    }
    add_delimiter(response, body, keep_alive, output);
    *ret_body = body;
    return 0;
}

void forward_exchange(const struct request *request, const char *session, struct evbuffer *output)
{
    cleanup_buf struct buf target = {0};
    struct bytes token;

    (void)credential_clean_target(request->target, &token, &target);
    (void)evbuffer_add_printf(output, "HTTP/1.1 303 See Other\r\nLocation: ");
    /* "//elsewhere/" would be another host's URL; "/.//elsewhere/" is the same path on ours. */
    if (target.size > 1 && (target.data[1] == '/' || target.data[1] == '\\'))
        (void)evbuffer_add_printf(output, "/.");
    add(output, buf_bytes(&target));
    (void)evbuffer_add_printf(output,
                              "\r\nSet-Cookie: " CREDENTIAL_COOKIE "=%s; Path=/; Max-Age=%d; "
                              "HttpOnly; SameSite=Lax\r\n"
                              "Cache-Control: no-store\r\nReferrer-Policy: no-referrer\r\n"
                              "Content-Length: 0\r\nConnection: close\r\n\r\n",
                              session, CREDENTIAL_SESSION_S);
}
