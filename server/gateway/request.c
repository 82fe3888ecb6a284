#include "server/gateway/request.h"

#include "server/gateway/field.h"

/* The only field of that name; count says how many there are. */
static struct bytes single(const struct message *message, const char *name, unsigned *ret_count)
{
    struct bytes value = bytes_of("", 0);

    *ret_count = 0;
    for (unsigned i = 0; i < message->field_count; i++) {
        if (field_is(message_name(message, i), name) && ++*ret_count == 1)
            value = field_trim(message_value(message, i));
    }
    return value;
}

static unsigned check_line(const struct message *message, struct request *request)
{
    const llhttp_t *parser = &message->parser;

    if (parser->http_major != 1 || parser->http_minor > 1)
        return 505;
    request->http10 = parser->http_minor == 0;
    request->method = llhttp_method_name((llhttp_method_t)parser->method);
    request->is_head = parser->method == HTTP_HEAD;
    request->is_safe =
        parser->method == HTTP_GET || parser->method == HTTP_HEAD || parser->method == HTTP_OPTIONS;
    if (parser->method == HTTP_CONNECT || parser->method == HTTP_TRACE)
        return 405;
    return parser->method > HTTP_SOURCE ? 400 : 0;
}

/* Printable ASCII without the fragment, which no client has a reason to send. */
static bool is_visible(struct bytes target)
{
    for (size_t i = 0; i < target.size; i++) {
        if (target.data[i] <= ' ' || target.data[i] >= 0x7f || target.data[i] == '#')
            return false;
    }
    return target.size > 0;
}

/* http://host/path becomes /path, if it is the same host: two answers to one question are a
 * disagreement between two parsers waiting to happen. */
static unsigned cut_authority(struct request *request)
{
    static const char scheme[] = "http://";
    size_t skip = sizeof(scheme) - 1;
    struct bytes rest = request->target;

    if (rest.size <= skip || strncasecmp((const char *)rest.data, scheme, skip) != 0)
        return 400;
    rest = bytes_of(rest.data + skip, rest.size - skip);
    if (rest.size < request->host.size ||
        strncasecmp((const char *)rest.data, (const char *)request->host.data,
                    request->host.size) != 0)
        return 400;
    rest = bytes_of(rest.data + request->host.size, rest.size - request->host.size);
    if (rest.size == 0)
        rest = bytes_of("/", 1);
    request->target = rest;
    return rest.data[0] == '/' ? 0 : 400;
}

static unsigned check_target(const struct message *message, const char *domain,
                             struct request *request)
{
    unsigned hosts;

    request->host = single(message, "Host", &hosts);
    if (hosts != 1)
        return 400;
    request->host_kind = host_parse(request->host, domain, request->preview_id);
    request->target = message_start(message);
    if (request->host_kind == HOST_BAD || !is_visible(request->target))
        return 400;
    if (request->target.data[0] == '/')
        return 0;
    if (field_is(request->target, "*"))
        return message->parser.method == HTTP_OPTIONS ? 0 : 400;
    return cut_authority(request);
}

static bool is_length(struct bytes text)
{
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
    }
    return text.size > 0 && text.size <= 18;
}

/* One way to say where the body ends, and no second one beside it. */
static unsigned check_body(const struct message *message, struct request *request)
{
    unsigned lengths, codings;
    struct bytes length = single(message, "Content-Length", &lengths);
    struct bytes coding = single(message, "Transfer-Encoding", &codings);

    if (lengths + codings > 1 || (lengths == 1 && !is_length(length)))
        return 400;
    if (codings == 1 && (request->http10 || !field_is(coding, "chunked") || !message->chunked))
        return 400;
    request->length = lengths ? message->parser.content_length : 0;
    request->has_body = codings == 1 || request->length > 0;
    return 0;
}

static unsigned check_connection(const struct message *message, bool *ret_upgrade)
{
    size_t named = 0;

    *ret_upgrade = false;
    for (unsigned i = 0; i < message->field_count; i++) {
        if (!field_is(message_name(message, i), "Connection"))
            continue;
        struct bytes list = message_value(message, i);
        struct bytes item;

        named += list.size;
        if (named > GATEWAY_CONNECTION_BYTES)
            return 400;
        while (field_list_next(&list, &item)) {
            if (!field_is_token(item) || field_is_protected(item))
                return 400;
            if (field_is(item, "Upgrade"))
                *ret_upgrade = true;
        }
    }
    return 0;
}

/* WebSocket and nothing else: h2c would carry requests past every check here. */
static unsigned check_upgrade(const struct message *message, struct request *request)
{
    unsigned count;
    bool named;
    unsigned fault = check_connection(message, &named);
    struct bytes protocol = single(message, "Upgrade", &count);

    if (fault)
        return fault;
    if (count == 0)
        return 0;
    if (count != 1 || !named || !field_is(protocol, "websocket") || request->http10 ||
        message->parser.method != HTTP_GET || request->has_body)
        return 400;
    request->websocket = true;
    return 0;
}

static unsigned check_expect(const struct message *message, struct request *request)
{
    unsigned count;
    struct bytes value = single(message, "Expect", &count);

    if (count == 0)
        return 0;
    if (count != 1 || !field_is(value, "100-continue"))
        return 417;
    request->expects_continue = request->has_body && !request->http10;
    return 0;
}

static unsigned check_names(const struct message *message)
{
    for (unsigned i = 0; i < message->field_count; i++) {
        if (!field_is_token(message_name(message, i)))
            return 400;
    }
    return 0;
}

unsigned request_check(const struct message *message, const char *domain,
                       struct request *ret_request)
{
    struct request request = {.message = message};
    unsigned fault = check_line(message, &request);

    if (!fault)
        fault = check_names(message);
    if (!fault)
        fault = check_target(message, domain, &request);
    if (!fault)
        fault = check_body(message, &request);
    if (!fault)
        fault = check_upgrade(message, &request);
    if (!fault)
        fault = check_expect(message, &request);
    request.keep_alive = !request.http10 && llhttp_should_keep_alive(&message->parser);
    if (message->upgraded != request.websocket && !fault)
        fault = 400;
    if (!fault)
        *ret_request = request;
    return fault;
}
