/*
 * Any message of ours as JSON, by the rules of proto3's JSON mapping: lowerCamelCase names, 64-bit
 * numbers as strings, enums by name, bytes in base64, Timestamp in RFC 3339, Duration in seconds.
 */
#pragma once

#include <stdio.h>

#include <jansson.h>
#include <protobuf-c/protobuf-c.h>

/* A new reference; NULL when memory is out or the message nests too deeply. */
json_t *json_from_message(const ProtobufCMessage *message);

/* Appends a message to an array. 0, or -ENOMEM. */
int json_append_message(json_t *array, const ProtobufCMessage *message);

/* Prints a value, indented, with a newline; steals the reference. Control characters come out
 * escaped, as JSON demands. Returns 0, or -EIO. */
int json_print(json_t *value, FILE *out);
