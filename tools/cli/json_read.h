/*
 * JSON as a message of ours: what json.h writes, read back, strictly. A field that the message does
 * not have, a value of another type, a number below zero or beyond its field is a mistake;
 * durations are whole numbers with s, m, h or d behind them. Messages hold numbers without a sign,
 * strings, booleans, durations and messages; other fields cannot be read.
 */
#pragma once

#include <jansson.h>
#include <protobuf-c/protobuf-c.h>

struct json_mistake {
    char field[96]; /* "features.artifacts"; empty: the value as a whole */
    char text[256]; /* what is wrong and what is allowed */
};

/* A message that is freed as unpacked ones are. Returns 0, or -EINVAL with the mistake. */
int json_read_message(const json_t *value, const ProtobufCMessageDescriptor *type,
                      ProtobufCMessage **ret_message, struct json_mistake *ret_mistake);
