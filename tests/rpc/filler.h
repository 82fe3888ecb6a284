/*
 * A request of any method, made from its descriptor: complete enough to be looked up, with given
 * ids in every field that takes one. What a new field needs is taught in filler.c; a field for ids
 * of which it knows nothing fails the test.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

#define FILLER_ID_SIZE 64

/* What the fields are filled with. */
struct filler_ids {
    char sandbox[FILLER_ID_SIZE];
    char command[FILLER_ID_SIZE];
    char preview[FILLER_ID_SIZE];
    char artifact[FILLER_ID_SIZE];
    char bucket[FILLER_ID_SIZE];
    char key[FILLER_ID_SIZE];
    char webhook[FILLER_ID_SIZE];
};

/* Freed with protobuf_c_message_free_unpacked. ret_ids: whether any field took one. */
ProtobufCMessage *filler_request(const ProtobufCMessageDescriptor *type,
                                 const struct filler_ids *ids, bool *ret_ids);
