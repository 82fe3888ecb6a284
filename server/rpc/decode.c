#include "server/rpc/decode.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "server/util/utf8.h"

/* Deeper than any message of the contract; protobuf-c itself recurses without a bound. */
#define DECODE_DEPTH 16

enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

struct walk {
    const ProtobufCFieldDescriptor *path[DECODE_DEPTH];
    unsigned depth;
    bool text; /* what was found is invalid text, at path */
};

static bool read_varint(struct bytes *wire, uint64_t *ret_value)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < 10 && i < wire->size; i++) {
        value |= (uint64_t)(wire->data[i] & 0x7f) << (7 * i);
        if (wire->data[i] & 0x80)
            continue;
        *wire = bytes_of(wire->data + i + 1, wire->size - i - 1);
        *ret_value = value;
        return true;
    }
    return false;
}

static bool skip(struct bytes *wire, uint64_t size)
{
    if (size > wire->size)
        return false;
    *wire = bytes_of(wire->data + size, wire->size - (size_t)size);
    return true;
}

static bool text_ok(struct bytes text)
{
    if (text.size && memchr(text.data, '\0', text.size))
        return false;
    return utf8_valid(text);
}

/* A value that may hold text: it waits on the walk's own stack instead of the C stack. */
struct level {
    const ProtobufCMessageDescriptor *type;
    struct bytes rest;
};

static bool enter(struct walk *walk, struct level levels[], const ProtobufCFieldDescriptor *field,
                  struct bytes value)
{
    if (walk->depth + 1 >= DECODE_DEPTH)
        return false;
    walk->path[walk->depth++] = field;
    levels[walk->depth] = (struct level){field->descriptor, value};
    return true;
}

static bool check_bytes(struct walk *walk, struct level levels[],
                        const ProtobufCFieldDescriptor *field, struct bytes value)
{
    if (!field)
        return true;
    if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        return enter(walk, levels, field, value);
    if (field->type != PROTOBUF_C_TYPE_STRING || text_ok(value))
        return true;
    walk->path[walk->depth++] = field;
    walk->text = true;
    return false;
}

/* Checks one field of the innermost message. */
static bool check_field(struct walk *walk, struct level levels[])
{
    struct level *level = &levels[walk->depth];
    struct bytes *rest = &level->rest;
    uint64_t key, value;

    if (!read_varint(rest, &key) || key >> 3 == 0 || key >> 32)
        return false;
    switch (key & 7) {
    case WIRE_VARINT:
        return read_varint(rest, &value);
    case WIRE_64:
        return skip(rest, 8);
    case WIRE_32:
        return skip(rest, 4);
    case WIRE_BYTES:
        break;
    default:
        return false;
    }
    if (!read_varint(rest, &value))
        return false;
    const uint8_t *data = rest->data;

    if (!skip(rest, value))
        return false;
    return check_bytes(walk, levels,
                       protobuf_c_message_descriptor_get_field(level->type, (unsigned)(key >> 3)),
                       bytes_of(data, (size_t)value));
}

static bool check_message(struct walk *walk, const ProtobufCMessageDescriptor *type,
                          struct bytes wire)
{
    struct level levels[DECODE_DEPTH] = {{type, wire}};

    for (;;) {
        if (levels[walk->depth].rest.size) {
            if (!check_field(walk, levels))
                return false;
        } else if (walk->depth == 0) {
            return true;
        } else {
            walk->depth--;
        }
    }
}

static struct status text_invalid(const struct walk *walk)
{
    char path[64] = "";
    size_t at = 0;

    for (unsigned i = 0; i < walk->depth && at < sizeof(path); i++)
        at += (size_t)snprintf(path + at, sizeof(path) - at, "%s%s", i ? "." : "",
                               walk->path[i]->name);
    return status_invalid(path, "TEXT_INVALID", "%s must be valid UTF-8 without NUL characters",
                          path);
}

static struct status malformed(const ProtobufCMessageDescriptor *type)
{
    return status_error(STATUS_INVALID_ARGUMENT, "REQUEST_MALFORMED",
                        "the request is not a valid %s message", type->name);
}

struct status decode_message(const ProtobufCMessageDescriptor *type, struct bytes wire,
                             struct arena *arena, ProtobufCMessage **ret_message)
{
    struct walk walk = {.depth = 0};

    if (!check_message(&walk, type, wire))
        return walk.text ? text_invalid(&walk) : malformed(type);
    ProtobufCMessage *message =
        protobuf_c_message_unpack(type, arena_allocator(arena), wire.size, wire.data);

    if (!message)
        return malformed(type);
    *ret_message = message;
    return STATUS_OK_VALUE;
}
