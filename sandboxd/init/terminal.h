/*
 * Terminals of commands. The server gets pipes whatever a command has: a process of nest-init's,
 * the relay, carries the bytes between them and the terminal. For a terminal's descriptor cannot be
 * read without trusting that nobody else makes it block.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

/* A new terminal that belongs to uid; its size in characters. 0 or -errno. */
int terminal_open(uid_t uid, uint16_t rows, uint16_t columns, int *ret_ours, int *ret_command);

/* 0 or -errno. */
int terminal_resize(int ours, uint16_t rows, uint16_t columns);

/*
 * Starts the relay, which ends when the last process has closed the terminal and all its output is
 * in the pipe. The end of input becomes the terminal's end-of-file character. The descriptors stay
 * the caller's. Returns the relay's pid or -errno.
 */
pid_t terminal_relay(int ours, int input, int output);
