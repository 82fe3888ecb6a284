/*
 * From a request's bytes to a typed message. What protobuf-c leaves open is checked here, on the
 * wire form and before anything is allocated: text that is not UTF-8 or holds a NUL (which a C
 * string would silently end at), and depth. Threads: any.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "server/util/arena.h"
#include "server/util/bytes.h"
#include "server/util/status.h"

/* *ret_message lives in the arena. INVALID_ARGUMENT: REQUEST_MALFORMED, or TEXT_INVALID with the
 * path of the field. */
struct status decode_message(const ProtobufCMessageDescriptor *type, struct bytes wire,
                             struct arena *arena, ProtobufCMessage **ret_message);
