#include "tools/cli/json_read.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "google/protobuf/duration.pb-c.h"
#include "tools/cli/text.h"

#define DEPTH_MAX 4
#define SECONDS_MAX 315576000000ULL /* of protobuf's Duration */

/* Where the reader is. */
struct reader {
    const char *parent; /* the field that holds the message; "": none */
    unsigned depth;
    struct json_mistake *mistake;
};

__attribute__((format(printf, 3, 4))) static int wrong(const struct reader *reader,
                                                       const char *field, const char *format, ...)
{
    struct json_mistake *mistake = reader->mistake;
    va_list args;

    (void)snprintf(mistake->field, sizeof(mistake->field), "%s%s%s", reader->parent,
                   reader->parent[0] && field[0] ? "." : "", field);
    va_start(args, format);
    (void)vsnprintf(mistake->text, sizeof(mistake->text), format, args);
    va_end(args);
    return -EINVAL;
}

/* Whether the JSON name is the field's: max_ttl is maxTtl. */
static bool is_name_of(const char *json_name, const char *name)
{
    while (*name) {
        char expected = *name++;

        if (expected == '_' && *name)
            expected = (char)toupper((unsigned char)*name++);
        if (*json_name++ != expected)
            return false;
    }
    return *json_name == '\0';
}

static const ProtobufCFieldDescriptor *find_field(const ProtobufCMessageDescriptor *type,
                                                  const char *json_name)
{
    for (unsigned i = 0; i < type->n_fields; i++) {
        if (is_name_of(json_name, type->fields[i].name))
            return &type->fields[i];
    }
    return NULL;
}

static int read_number(const struct reader *reader, const char *name, const json_t *value,
                       uint64_t max, uint64_t *ret_number)
{
    const char *text = json_string_value(value);
    json_int_t number = json_integer_value(value);
    char *end;

    errno = 0;
    if (json_is_integer(value) && number >= 0 && (uint64_t)number <= max) {
        *ret_number = (uint64_t)number;
        return 0;
    }
    /* 64-bit numbers are strings in proto3's JSON. */
    if (text && isdigit((unsigned char)text[0])) {
        *ret_number = strtoull(text, &end, 10);
        if (!errno && !*end && *ret_number <= max)
            return 0;
    }
    return wrong(reader, name, "is a whole number from 0 to %" PRIu64, max);
}

static int read_duration(const struct reader *reader, const char *name, const json_t *value,
                         ProtobufCMessage **ret_message)
{
    static const struct {
        char unit;
        unsigned seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    const char *text = json_string_value(value);
    char *end = NULL;
    uint64_t number = 0;

    errno = 0;
    if (text && isdigit((unsigned char)text[0]))
        number = strtoull(text, &end, 10);
    for (size_t i = 0; end && !errno && i < sizeof(units) / sizeof(*units); i++) {
        if (end[0] != units[i].unit || end[1] || number > SECONDS_MAX / units[i].seconds)
            continue;
        Google__Protobuf__Duration *duration = malloc(sizeof(*duration));

        if (!duration)
            abort();
        google__protobuf__duration__init(duration);
        duration->seconds = (int64_t)(number * units[i].seconds);
        *ret_message = &duration->base;
        return 0;
    }
    return wrong(reader, name,
                 "is a time: a string with a whole number and s, m, h or d, such as \"60m\"");
}

static int read_value(const struct reader *reader, const ProtobufCFieldDescriptor *field,
                      const char *name, const json_t *value, void *at);

static int read_into(const struct reader *reader, const json_t *value, ProtobufCMessage *message)
{
    const char *name;
    json_t *member;

    if (!json_is_object(value))
        return wrong(reader, "", "is an object: { … }");
    json_object_foreach((json_t *)value, name, member)
    {
        const ProtobufCFieldDescriptor *field = find_field(message->descriptor, name);
        char shown[64];

        text_format(name, shown, sizeof(shown));
        if (!field || field->label == PROTOBUF_C_LABEL_REPEATED)
            return wrong(reader, shown, "is no field that there is");
        int result = read_value(reader, field, shown, member, (char *)message + field->offset);

        if (result)
            return result;
    }
    return 0;
}

static int read_message(const struct reader *reader, const json_t *value,
                        const ProtobufCMessageDescriptor *type, ProtobufCMessage **ret_message)
{
    ProtobufCMessage *message = malloc(type->sizeof_message);

    if (!message)
        abort();
    protobuf_c_message_init(type, message);
    int result = read_into(reader, value, message);

    if (result)
        protobuf_c_message_free_unpacked(message, NULL);
    else
        *ret_message = message;
    return result;
}

static int read_string(const struct reader *reader, const char *name, const json_t *value,
                       char **at)
{
    const char *text = json_string_value(value);

    if (!text)
        return wrong(reader, name, "is a string");
    *at = strdup(text);
    return *at ? 0 : -ENOMEM;
}

static int read_value(const struct reader *reader, const ProtobufCFieldDescriptor *field,
                      const char *name, const json_t *value, void *at)
{
    struct reader inner = {.parent = name, .depth = reader->depth + 1, .mistake = reader->mistake};
    uint64_t number = 0;
    int result;

    switch (field->type) {
    case PROTOBUF_C_TYPE_UINT32:
        result = read_number(reader, name, value, UINT32_MAX, &number);
        *(uint32_t *)at = (uint32_t)number;
        return result;
    case PROTOBUF_C_TYPE_UINT64:
        return read_number(reader, name, value, INT64_MAX, at);
    case PROTOBUF_C_TYPE_BOOL:
        *(protobuf_c_boolean *)at = json_is_true(value);
        return json_is_boolean(value) ? 0 : wrong(reader, name, "is true or false");
    case PROTOBUF_C_TYPE_STRING:
        return read_string(reader, name, value, at);
    case PROTOBUF_C_TYPE_MESSAGE:
        if (field->descriptor == &google__protobuf__duration__descriptor)
            return read_duration(reader, name, value, at);
        if (inner.depth < DEPTH_MAX)
            return read_message(&inner, value, field->descriptor, at);
        break;
    default:
        break;
    }
    return wrong(reader, name, "cannot be given here");
}

int json_read_message(const json_t *value, const ProtobufCMessageDescriptor *type,
                      ProtobufCMessage **ret_message, struct json_mistake *ret_mistake)
{
    struct reader reader = {.parent = "", .mistake = ret_mistake};

    return read_message(&reader, value, type, ret_message);
}
