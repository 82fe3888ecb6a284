#include "server/gateway/message.h"

#include <errno.h>
#include <string.h>

static int refuse(struct message *message, unsigned fault)
{
    if (!message->fault)
        message->fault = fault;
    return HPE_USER;
}

static struct message *message_of(llhttp_t *parser)
{
    return parser->data;
}

static int on_start(llhttp_t *parser, const char *at, size_t size)
{
    struct message *message = message_of(parser);

    message->start_size += (uint32_t)size;
    if (message->start_size > GATEWAY_TARGET_BYTES)
        return refuse(message, 414);
    buf_append(&message->text, at, size);
    return 0;
}

/* Extensions and trailers are dropped: they must not keep a connection busy for ever either. */
static int on_extra(llhttp_t *parser, const char *at, size_t size)
{
    struct message *message = message_of(parser);

    (void)at;
    message->extra += size;
    return message->extra > GATEWAY_EXTRA_BYTES ? refuse(message, 431) : 0;
}

static int on_name(llhttp_t *parser, const char *at, size_t size)
{
    struct message *message = message_of(parser);

    if (message->head_done)
        return on_extra(parser, at, size);
    if (message->field_count == 0 || message->in_value) {
        if (message->field_count == GATEWAY_FIELDS)
            return refuse(message, 431);
        message->fields[message->field_count++] =
            (struct message_field){.name_at = (uint32_t)message->text.size};
        message->in_value = false;
    }
    message->fields[message->field_count - 1].name_size += (uint32_t)size;
    buf_append(&message->text, at, size);
    return 0;
}

static int on_value(llhttp_t *parser, const char *at, size_t size)
{
    struct message *message = message_of(parser);

    if (message->head_done)
        return on_extra(parser, at, size);
    struct message_field *field = &message->fields[message->field_count - 1];

    if (!message->in_value)
        field->value_at = (uint32_t)message->text.size;
    message->in_value = true;
    field->value_size += (uint32_t)size;
    buf_append(&message->text, at, size);
    return 0;
}

/* llhttp goes by Content-Length even where HTTP says that there is no body. */
static bool has_no_body(const llhttp_t *parser)
{
    return parser->type == HTTP_RESPONSE &&
           (parser->status_code < 200 || parser->status_code == 204 || parser->status_code == 304);
}

static int on_head(llhttp_t *parser)
{
    struct message *message = message_of(parser);

    message->chunked = parser->flags & F_CHUNKED;
    message->has_length = parser->flags & F_CONTENT_LENGTH;
    message->head_done = true;
    message->upgraded = parser->upgrade;
    return message->bodiless || has_no_body(parser) ? 1 : 0;
}

static int on_body(llhttp_t *parser, const char *at, size_t size)
{
    struct message *message = message_of(parser);

    /* The scan found the end of the head elsewhere than llhttp did. */
    if (!message->sink)
        return refuse(message, 400);
    return evbuffer_add(message->sink, at, size) ? refuse(message, 500) : 0;
}

static int on_done(llhttp_t *parser)
{
    message_of(parser)->done = true;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_url = on_start,
    .on_status = on_start,
    .on_header_field = on_name,
    .on_header_value = on_value,
    .on_chunk_extension_name = on_extra,
    .on_chunk_extension_value = on_extra,
    .on_headers_complete = on_head,
    .on_body = on_body,
    .on_message_complete = on_done,
};

void message_init(struct message *message, llhttp_type_t type)
{
    memset(message, 0, sizeof(*message));
    llhttp_init(&message->parser, type, &settings);
    message->parser.data = message;
}

void message_done(struct message *message)
{
    buf_done(&message->text);
}

/* A request line has two spaces; llhttp takes more of them in a row. */
static bool is_extra_space(struct message *message, uint8_t byte)
{
    return byte == ' ' && message->parser.type == HTTP_REQUEST && !message->first_line_done &&
           ++message->spaces > 2;
}

/*
 * llhttp tolerates folded lines, and old versions took a bare CR for the end of a line; another
 * parser on the way may not. Here every line ends in CRLF and begins with something visible.
 * 1: the head ends at scanned; 0: not yet; -EBADMSG.
 */
static int scan(struct message *message, const uint8_t *data, size_t size)
{
    while (message->scanned < size) {
        uint8_t byte = data[message->scanned++];
        bool after_cr = message->last == '\r';

        if (byte == 0 || after_cr != (byte == '\n'))
            return -EBADMSG;
        if (is_extra_space(message, byte) ||
            (message->line_size == 0 && (byte == ' ' || byte == '\t')))
            return -EBADMSG;
        message->last = byte;
        if (byte == '\r')
            continue;
        if (byte != '\n') {
            message->line_size++;
            continue;
        }
        if (message->line_size == 0)
            return message->first_line_done ? 1 : -EBADMSG;
        message->first_line_done = true;
        message->line_size = 0;
    }
    return 0;
}

static int parse_head(struct message *message, const uint8_t *head)
{
    const char *text = (const char *)head;
    llhttp_errno_t result = llhttp_execute(&message->parser, text, message->scanned);

    if (!message->head_done || message->fault)
        return -EBADMSG;
    if (result == HPE_OK)
        return 1;
    if (result != HPE_PAUSED && result != HPE_PAUSED_UPGRADE)
        return -EBADMSG;
    message->done = true;
    return llhttp_get_error_pos(&message->parser) == text + message->scanned ? 1 : -EBADMSG;
}

int message_read_head(struct message *message, struct evbuffer *input)
{
    size_t size = evbuffer_get_length(input);

    if (size > GATEWAY_HEAD_BYTES)
        size = GATEWAY_HEAD_BYTES;
    if (size == 0)
        return 0;
    const uint8_t *data = evbuffer_pullup(input, (ev_ssize_t)size);
    int result = data ? scan(message, data, size) : -EBADMSG;

    if (result == 0 && size == GATEWAY_HEAD_BYTES) {
        (void)refuse(message, 431);
        return -EBADMSG;
    }
    if (result > 0)
        result = parse_head(message, data);
    if (result > 0)
        (void)evbuffer_drain(input, message->scanned);
    if (result < 0)
        (void)refuse(message, 400);
    return result;
}

/* One contiguous stretch of input. */
static int read_stretch(struct message *message, struct evbuffer *input)
{
    struct evbuffer_iovec stretch;

    if (evbuffer_peek(input, -1, NULL, &stretch, 1) < 1)
        return -EBADMSG;
    const char *data = stretch.iov_base;
    llhttp_errno_t result = llhttp_execute(&message->parser, data, stretch.iov_len);

    if (result == HPE_OK)
        return evbuffer_drain(input, stretch.iov_len);
    if (result != HPE_PAUSED || !message->done)
        return -EBADMSG;
    return evbuffer_drain(input, (size_t)(llhttp_get_error_pos(&message->parser) - data));
}

int message_read_body(struct message *message, struct evbuffer *input, size_t most,
                      struct evbuffer *ret_data)
{
    int result = 0;

    message->sink = ret_data;
    while (result == 0 && !message->done && evbuffer_get_length(input) > 0 &&
           evbuffer_get_length(ret_data) < most)
        result = read_stretch(message, input);
    message->sink = NULL;
    if (result != 0)
        (void)refuse(message, 400);
    return result == 0 ? 0 : -EBADMSG;
}

int message_close(struct message *message)
{
    if (!message->head_done)
        return -EBADMSG;
    (void)llhttp_finish(&message->parser);
    return message->done ? 0 : -EBADMSG;
}

struct bytes message_start(const struct message *message)
{
    return bytes_of(message->text.data, message->start_size);
}

struct bytes message_name(const struct message *message, unsigned index)
{
    const struct message_field *field = &message->fields[index];

    return bytes_of(message->text.data + field->name_at, field->name_size);
}

struct bytes message_value(const struct message *message, unsigned index)
{
    const struct message_field *field = &message->fields[index];

    return bytes_of(message->text.data + field->value_at, field->value_size);
}
