/* File names are bytes; protobuf strings are UTF-8. */
#pragma once

#include <stdbool.h>

#include "server/util/arena.h"
#include "server/util/bytes.h"

bool utf8_valid(struct bytes text);
/* The text with U+FFFD for each byte that is not UTF-8; a string of the arena. */
char *utf8_lossy(struct arena *arena, struct bytes text);
