/* The names of the last NEST_TOKENS changes that were made, so that none is made twice. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

bool token_is_done(uint64_t token);

/* 0 names nothing and is not kept. */
void token_done(uint64_t token);
