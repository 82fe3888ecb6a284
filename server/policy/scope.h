/* The scopes of this service: those that methods of the contract name, and no others. */
#pragma once

#include "server/util/status.h"

/*
 * INVALID_ARGUMENT SCOPE_UNKNOWN at `scopes`, with what was probably meant. Wildcards are not
 * taken: nobody knows today what `sandbox:*` will be able to do.
 */
struct status scope_check(const char *scope);
