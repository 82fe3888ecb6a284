#include "tests/rpc/raw.h"

#include <stdlib.h>
#include <string.h>

#define LENGTH_BYTES 2

void raw_init(struct raw *raw)
{
    crownest__v1__who_am_irequest__init(&raw->message);
    raw->message.base.unknown_fields = raw->fields;
}

void raw_add(struct raw *raw, uint32_t tag, const void *data, size_t size)
{
    unsigned at = raw->message.base.n_unknown_fields++;

    if (at == RAW_FIELDS || size > RAW_FIELD_BYTES - LENGTH_BYTES)
        abort();
    /* A length may be written longer than it needs to be. */
    raw->bytes[at][0] = (uint8_t)((size & 0x7f) | 0x80);
    raw->bytes[at][1] = (uint8_t)(size >> 7);
    memcpy(raw->bytes[at] + LENGTH_BYTES, data, size);
    raw->fields[at] =
        (ProtobufCMessageUnknownField){.tag = tag,
                                       .wire_type = PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED,
                                       .len = LENGTH_BYTES + size,
                                       .data = raw->bytes[at]};
}

void raw_add_message(struct raw *raw, uint32_t tag, const struct raw *message)
{
    uint8_t packed[RAW_FIELDS * (RAW_FIELD_BYTES + 8)];
    size_t size = protobuf_c_message_pack(&message->message.base, packed);

    raw_add(raw, tag, packed, size);
}

int raw_call(struct crownest_client *client, const char *path, const struct raw *raw,
             struct crownest_error *ret_error)
{
    struct crownest_stream *stream;
    ProtobufCMessage *answer;
    int result = crownest_stream_open(client, path, &raw->message.base, NULL, &stream, ret_error);

    if (result < 0)
        return result;
    /* Any answer can be read as a message without fields. */
    result = crownest_stream_next(stream, &crownest__v1__who_am_irequest__descriptor, &answer,
                                  ret_error);
    if (result > 0)
        protobuf_c_message_free_unpacked(answer, NULL);
    crownest_stream_free(stream);
    return result;
}
