/* Passwords from people and scripts. They are never in argv, and never shown. */
#pragma once

#include <stdbool.h>

#include "tools/cli/command.h"

#define ASK_PASSWORD_SIZE 258 /* the longest one, a byte too many, NUL */

/*
 * Asks on the terminal, without echo, and with `twice` once more; or reads the first line of the
 * standard input. Returns 0, or -errno after printing what is wrong. To be wiped by the caller.
 */
int ask_password(const struct command *command, bool from_stdin, bool twice,
                 char ret_password[ASK_PASSWORD_SIZE]);
