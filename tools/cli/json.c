#include "tools/cli/json.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "google/protobuf/duration.pb-c.h"
#include "google/protobuf/timestamp.pb-c.h"

#define DEPTH_MAX 16
#define NAME_SIZE 128

static json_t *from_message(const ProtobufCMessage *message, unsigned depth);

static json_t *from_timestamp(const Google__Protobuf__Timestamp *timestamp)
{
    time_t seconds = (time_t)timestamp->seconds;
    char day[32];
    struct tm parts;

    if (!gmtime_r(&seconds, &parts) || !strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &parts))
        return json_null();
    if (!timestamp->nanos)
        return json_sprintf("%sZ", day);
    return json_sprintf("%s.%09" PRId32 "Z", day, timestamp->nanos);
}

static json_t *from_duration(const Google__Protobuf__Duration *duration)
{
    if (!duration->nanos)
        return json_sprintf("%" PRId64 "s", duration->seconds);
    return json_sprintf("%s%" PRId64 ".%09" PRId32 "s",
                        duration->nanos < 0 && !duration->seconds ? "-" : "", duration->seconds,
                        duration->nanos < 0 ? -duration->nanos : duration->nanos);
}

static json_t *from_bytes(const ProtobufCBinaryData *bytes)
{
    unsigned char *text = malloc(bytes->len / 3 * 4 + 5);

    if (!text)
        return NULL;
    int len = EVP_EncodeBlock(text, bytes->data, (int)bytes->len);
    json_t *value = json_stringn((const char *)text, (size_t)len);
    free(text);
    return value;
}

/* A string that is no UTF-8 (the server sends none) becomes null rather than nothing at all. */
static json_t *from_string(const char *string)
{
    json_t *value = json_string(string ? string : "");

    return value ? value : json_null();
}

static json_t *from_enum(const ProtobufCEnumDescriptor *type, int number)
{
    const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(type, number);

    return value ? json_string(value->name) : json_integer(number);
}

static json_t *from_value(const ProtobufCFieldDescriptor *field, const void *at, unsigned depth)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        return json_integer(*(const int32_t *)at);
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        return json_integer(*(const uint32_t *)at);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        return json_sprintf("%" PRId64, *(const int64_t *)at);
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return json_sprintf("%" PRIu64, *(const uint64_t *)at);
    case PROTOBUF_C_TYPE_FLOAT:
        return json_real((double)*(const float *)at);
    case PROTOBUF_C_TYPE_DOUBLE:
        return json_real(*(const double *)at);
    case PROTOBUF_C_TYPE_BOOL:
        return json_boolean(*(const protobuf_c_boolean *)at);
    case PROTOBUF_C_TYPE_ENUM:
        return from_enum(field->descriptor, *(const int *)at);
    case PROTOBUF_C_TYPE_STRING:
        return from_string(*(char *const *)at);
    case PROTOBUF_C_TYPE_BYTES:
        return from_bytes(at);
    case PROTOBUF_C_TYPE_MESSAGE:
        return from_message(*(ProtobufCMessage *const *)at, depth + 1);
    }
    return NULL;
}

static size_t element_size(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return sizeof(uint64_t);
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    default:
        return sizeof(uint32_t);
    }
}

/* protoc names the entries of a map<> so, and a message of ours never has just these fields. */
static bool is_map_entry(const ProtobufCFieldDescriptor *field)
{
    if (field->type != PROTOBUF_C_TYPE_MESSAGE)
        return false;
    const ProtobufCMessageDescriptor *type = field->descriptor;
    size_t len = strlen(type->short_name);

    return type->n_fields == 2 && len > 5 && !strcmp(type->short_name + len - 5, "Entry") &&
           !strcmp(type->fields[0].name, "key") && !strcmp(type->fields[1].name, "value") &&
           type->fields[0].type == PROTOBUF_C_TYPE_STRING;
}

static json_t *from_map(size_t count, ProtobufCMessage **entries, unsigned depth)
{
    json_t *object = json_object();

    for (size_t i = 0; object && i < count; i++) {
        const ProtobufCFieldDescriptor *fields = entries[i]->descriptor->fields;
        const char *key = *(char *const *)((const char *)entries[i] + fields[0].offset);

        (void)json_object_set_new(
            object, key,
            from_value(&fields[1], (const char *)entries[i] + fields[1].offset, depth));
    }
    return object;
}

static json_t *from_repeated(const ProtobufCFieldDescriptor *field, const char *base,
                             unsigned depth)
{
    size_t count = *(const size_t *)(base + field->quantifier_offset);
    const char *items = *(const char *const *)(base + field->offset);

    if (is_map_entry(field))
        return from_map(count, *(ProtobufCMessage ***)(base + field->offset), depth);
    json_t *array = json_array();
    for (size_t i = 0; array && i < count; i++)
        (void)json_array_append_new(
            array, from_value(field, items + i * element_size(field->type), depth));
    return array;
}

/* Whether a singular field is there: members of a oneof by its case, messages by their pointer. */
static bool is_present(const ProtobufCFieldDescriptor *field, const char *base)
{
    if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
        return *(const uint32_t *)(base + field->quantifier_offset) == field->id;
    if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        return *(void *const *)(base + field->offset) != NULL;
    return true;
}

static void camel_case(const char *name, char out[NAME_SIZE])
{
    size_t at = 0;

    for (; *name && at + 1 < NAME_SIZE; name++) {
        if (*name == '_' && name[1])
            out[at++] = (char)toupper((unsigned char)*++name);
        else
            out[at++] = *name;
    }
    out[at] = '\0';
}

static json_t *from_message(const ProtobufCMessage *message, unsigned depth)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;

    if (depth > DEPTH_MAX)
        return NULL;
    if (type == &google__protobuf__timestamp__descriptor)
        return from_timestamp((const Google__Protobuf__Timestamp *)message);
    if (type == &google__protobuf__duration__descriptor)
        return from_duration((const Google__Protobuf__Duration *)message);
    json_t *object = json_object();
    for (unsigned i = 0; object && i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        const char *base = (const char *)message;
        char name[NAME_SIZE];

        camel_case(field->name, name);
        if (field->label == PROTOBUF_C_LABEL_REPEATED)
            (void)json_object_set_new(object, name, from_repeated(field, base, depth));
        else if (is_present(field, base))
            (void)json_object_set_new(object, name, from_value(field, base + field->offset, depth));
    }
    return object;
}

json_t *json_from_message(const ProtobufCMessage *message)
{
    return from_message(message, 0);
}

int json_append_message(json_t *array, const ProtobufCMessage *message)
{
    return json_array_append_new(array, from_message(message, 0)) ? -ENOMEM : 0;
}

int json_print(json_t *value, FILE *out)
{
    /* On a terminal nothing but ASCII, for some characters beyond it drive or reorder text. */
    size_t flags = JSON_INDENT(2) | JSON_ENCODE_ANY | (isatty(fileno(out)) ? JSON_ENSURE_ASCII : 0);
    int failed = json_dumpf(value, out, flags) < 0;

    json_decref(value);
    return failed || fputc('\n', out) == EOF || fflush(out) ? -EIO : 0;
}
