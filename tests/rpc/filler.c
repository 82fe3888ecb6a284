#include "tests/rpc/filler.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Without these a request is refused before anything is looked up. */
static const struct {
    const char *name;
    const char *value;
} texts[] = {
    {"path", "/etc/hostname"}, {"from_path", "/tmp/from"}, {"to_path", "/tmp/to"},
    {"template", "base"},      {"argv", "true"},           {"upload_id", "upload"},
};

static const struct {
    const char *name;
    uint32_t value;
} numbers[] = {{"port", 8080}, {"rows", 24}, {"columns", 80}, {"signal", 15}};

/* Chosen by clients, or no resource. */
static const char *const free_ids[] = {"request_id", "upload_id", NULL};

static bool ends_with(const char *name, const char *end)
{
    size_t size = strlen(name);

    return size >= strlen(end) && strcmp(name + size - strlen(end), end) == 0;
}

static bool among(const char *const *names, const char *name)
{
    while (*names && strcmp(*names, name) != 0)
        names++;
    return *names != NULL;
}

/* The id that belongs there; NULL: it is no field for ids. */
static const char *id_for(const ProtobufCMessageDescriptor *type, const char *name,
                          const struct filler_ids *ids)
{
    const struct {
        const char *end;
        const char *id;
    } known[] = {
        {"sandbox_id", ids->sandbox},   {"command_id", ids->command}, {"preview_id", ids->preview},
        {"artifact_id", ids->artifact}, {"key_id", ids->key},         {"resource_id", ids->sandbox},
        {"bucket_id", ids->bucket},     {"webhook_id", ids->webhook},
    };

    if ((!ends_with(name, "_id") && !ends_with(name, "_ids")) || among(free_ids, name))
        return NULL;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (ends_with(name, known[i].end))
            return known[i].id;
    }
    fail_msg("%s has a field %s for ids: teach filler.c what belongs there", type->name, name);
    return NULL;
}

static const char *text_for(const char *name)
{
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (strcmp(texts[i].name, name) == 0)
            return texts[i].value;
    }
    return NULL;
}

static void *field_of(ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    return (uint8_t *)message + field->offset;
}

static bool is_oneof(const ProtobufCFieldDescriptor *field)
{
    return (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0;
}

/* Sets a field of pointers: the only one, or the only element. */
static void set_pointer(ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
                        void *value)
{
    void *quantifier = (uint8_t *)message + field->quantifier_offset;

    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        void **list = malloc(sizeof(*list));

        assert_non_null(list);
        list[0] = value;
        *(void ***)field_of(message, field) = list;
        *(size_t *)quantifier = 1;
        return;
    }
    if (is_oneof(field))
        *(uint32_t *)quantifier = field->id;
    *(void **)field_of(message, field) = value;
}

static void fill_string(ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
                        const struct filler_ids *ids, bool *ret_ids)
{
    const char *id = id_for(message->descriptor, field->name, ids);
    const char *text = id ? id : text_for(field->name);

    *ret_ids |= id != NULL;
    if (text)
        set_pointer(message, field, strdup(text));
}

static void fill_number(ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        if (!is_oneof(field) && strcmp(numbers[i].name, field->name) == 0)
            *(uint32_t *)field_of(message, field) = numbers[i].value;
    }
}

/* One that is worth filling: of the contract, and no entry of a map. */
static bool is_ours(const ProtobufCMessageDescriptor *type)
{
    return strncmp(type->package_name, "crownest.", strlen("crownest.")) == 0 &&
           !ends_with(type->name, "Entry");
}

/* Messages do not nest without end: the contract has no recursive ones. */
ProtobufCMessage *filler_request(const ProtobufCMessageDescriptor *type,
                                 const struct filler_ids *ids, bool *ret_ids)
{
    ProtobufCMessage *message = calloc(1, type->sizeof_message);

    assert_non_null(message);
    type->message_init(message);
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];

        if (field->type == PROTOBUF_C_TYPE_STRING)
            fill_string(message, field, ids, ret_ids);
        else if (field->type == PROTOBUF_C_TYPE_MESSAGE && is_ours(field->descriptor))
            set_pointer(message, field, filler_request(field->descriptor, ids, ret_ids));
        else if (field->label != PROTOBUF_C_LABEL_REPEATED &&
                 (field->type == PROTOBUF_C_TYPE_UINT32 || field->type == PROTOBUF_C_TYPE_INT32))
            fill_number(message, field);
    }
    return message;
}
