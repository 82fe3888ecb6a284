/*
 * One HTTP/1 message as it arrives: its head is collected whole, checked for the line discipline
 * that llhttp leaves loose, and parsed by llhttp; its body is then decoded piece by piece.
 * Owned by one connection; not thread-safe.
 */
#pragma once

#include <event2/buffer.h>
#include <llhttp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/gateway/limits.h"
#include "server/util/buf.h"
#include "server/util/bytes.h"

struct message_field {
    uint32_t name_at, name_size, value_at, value_size; /* in text */
};

struct message {
    llhttp_t parser;
    struct buf text; /* target or reason phrase, then names and values */
    struct message_field fields[GATEWAY_FIELDS];
    unsigned field_count;
    uint32_t start_size; /* of the target or the reason phrase, at the beginning of text */
    size_t scanned;      /* bytes of the head that were looked at */
    size_t line_size;    /* of the line that the scan is in */
    unsigned spaces;     /* seen in the request line */
    uint8_t last;        /* byte of the scan */
    bool first_line_done;
    bool in_value;
    bool head_done;
    bool done;     /* the whole message */
    bool upgraded; /* another protocol follows */
    bool bodiless; /* answers a HEAD: set it before the head is read */
    bool chunked;
    bool has_length;
    size_t extra; /* bytes of chunk extensions and trailers */
    struct evbuffer *sink;
    unsigned fault; /* the HTTP status that a refused request deserves */
};

/* type: HTTP_REQUEST or HTTP_RESPONSE. */
void message_init(struct message *message, llhttp_type_t type);
void message_done(struct message *message);

/*
 * Takes the head out of input once it is there in full. 1: it is; 0: more bytes are needed;
 * -EBADMSG: it is malformed or too large, fault says how.
 */
int message_read_head(struct message *message, struct evbuffer *input);

/* Decodes body from input into ret_data until that holds `most` bytes; done says whether it ended.
 * -EBADMSG: malformed. */
int message_read_body(struct message *message, struct evbuffer *input, size_t most,
                      struct evbuffer *ret_data);

/* The peer has closed: 0 if that ends the message, -EBADMSG if it cuts it short. */
int message_close(struct message *message);

/* Request target or reason phrase. */
struct bytes message_start(const struct message *message);
struct bytes message_name(const struct message *message, unsigned index);
struct bytes message_value(const struct message *message, unsigned index);
