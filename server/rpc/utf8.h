/* UTF-8 as the Unicode standard allows it: shortest forms, no surrogates, up to U+10FFFF. */
#pragma once

#include "server/util/bytes.h"

/* How many bytes from the start are whole, valid characters. */
size_t utf8_valid_prefix(struct bytes text);
