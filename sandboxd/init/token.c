#include "sandboxd/init/token.h"

#include <stddef.h>

#include "sandboxd/init/wire.h"

static uint64_t tokens[NEST_TOKENS]; /* a ring */
static size_t next;

bool token_is_done(uint64_t token)
{
    for (size_t i = 0; token != 0 && i < NEST_TOKENS; i++) {
        if (tokens[i] == token) {
            return true;
        }
    }
    return false;
}

void token_done(uint64_t token)
{
    if (token != 0) {
        tokens[next] = token;
        next = (next + 1) % NEST_TOKENS;
    }
}
