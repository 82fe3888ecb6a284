/* Requests that the typed client cannot make: any bytes in any field. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "bindings/c/call.h"
#include "crownest/v1/key.pb-c.h"

#define RAW_FIELDS 4
#define RAW_FIELD_BYTES 512

/* An empty message whose unknown fields are the request. */
struct raw {
    Crownest__V1__WhoAmIRequest message;
    ProtobufCMessageUnknownField fields[RAW_FIELDS];
    uint8_t bytes[RAW_FIELDS][RAW_FIELD_BYTES];
};

/* Must not be moved while it has fields. */
void raw_init(struct raw *raw);
/* Adds a length-delimited field: a string, bytes or a packed message. */
void raw_add(struct raw *raw, uint32_t tag, const void *data, size_t size);
/* Adds a message. */
void raw_add_message(struct raw *raw, uint32_t tag, const struct raw *message);
/* Sends it and waits for the first answer or the refusal; an answer is thrown away. */
int raw_call(struct crownest_client *client, const char *path, const struct raw *raw,
             struct crownest_error *ret_error);
