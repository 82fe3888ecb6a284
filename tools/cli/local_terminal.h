/*
 * The terminal on our standard input, while a command's own terminal is shown in it: in raw mode
 * every key goes to the command, Ctrl-C included.
 *
 * It is put back however the process ends (but for SIGKILL): by return, by exit, by a fatal signal;
 * and while the process is stopped. One for the process; local_terminal_restore may be called from
 * any thread and from signal handlers.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Whether there is one. */
bool local_terminal_exists(void);

/* Its size; false, and nothing set, when it has none. */
bool local_terminal_size(uint32_t *ret_rows, uint32_t *ret_columns);

/* Puts it into raw mode. 0, or -errno. */
int local_terminal_raw(void);

/* Whether it is in raw mode: then lines of ours have to end with "\r\n". */
bool local_terminal_is_raw(void);

/* Puts it back as it was; again changes nothing. */
void local_terminal_restore(void);
