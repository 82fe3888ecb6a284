/* Checks that more than one service makes. */
#pragma once

#include "crownest/v1/command.pb-c.h"
#include "private/records.pb-c.h"
#include "server/sandbox/command.h"
#include "server/util/arena.h"
#include "server/util/status.h"

/* A variable's name: [A-Za-z_][A-Za-z0-9_]*; INVALID_ARGUMENT ENV_INVALID at the field. */
struct status check_variable(const char *field, const char *name);

/* The command that a spec asks for, defaults filled in, or the field that is wrong. In the arena.
 */
struct status check_command(const Crownest__V1__CommandSpec *spec, struct arena *arena,
                            Crownest__Records__CommandRecord **ret_record);

#define CHECK_WORD_MAX 63

/* Letters of ids, actors and actions; INVALID_ARGUMENT FILTER_INVALID at the field. */
struct status check_word(const char *field, const char *word);
/* Those of a filter of entries: the same at `actions`, or when there are too many. */
struct status check_actions(char *const *actions, size_t count);

/* The size of a terminal, defaults filled in. INVALID_ARGUMENT TERMINAL_INVALID at field.rows or
 * field.columns. */
struct status check_terminal(const Crownest__V1__TerminalSize *size, const char *field,
                             uint32_t *ret_rows, uint32_t *ret_columns);
