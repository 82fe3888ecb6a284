/*
 * A command's flags as a table: getopt_long reads them, and --help is printed from them.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tools/cli/command.h"

#define FLAGS_MAX 24
#define FLAG_LIST_MAX 256

enum flag_kind {
    FLAG_SWITCH, /* bool * */
    FLAG_TEXT,   /* const char ** */
    FLAG_NUMBER, /* uint64_t *, decimal, at most flag.max */
    FLAG_LIST,   /* struct flag_list *: may be given many times */
};

struct flag_list {
    const char *items[FLAG_LIST_MAX];
    size_t count;
};

struct flag {
    const char *name; /* without its dashes */
    char letter;      /* 0: none */
    enum flag_kind kind;
    void *value;
    const char *operand; /* how --help calls its value; NULL for switches */
    const char *help;
    uint64_t max; /* FLAG_NUMBER */
};

enum flags_result {
    FLAGS_OK,
    FLAGS_HELP, /* help was asked for and printed to stdout: exit with 0 */
    FLAGS_WRONG /* the mistake was printed to stderr: exit with EXIT_USAGE */
};

/*
 * Reads flags into their values, which keep their defaults when not given. *ret_operands is the
 * index of the first operand in argv, which is permuted so that operands come last; but with
 * `stop_at_operand` everything after the first operand is left alone.
 */
enum flags_result flags_parse(const struct command *command, const struct flag *flags,
                              size_t flag_count, bool stop_at_operand, int argc, char **argv,
                              int *ret_operands);

/* Prints a mistake in how a command was called. Returns EXIT_USAGE. */
int flags_mistake(const struct command *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Reads a decimal number of at most max. Returns 0, or -EINVAL. */
int flags_number(const char *text, uint64_t max, uint64_t *ret_number);

#define FLAGS_PARSE(command, flags, argc, argv, ret_operands)                                      \
    flags_parse(command, flags, sizeof(flags) / sizeof((flags)[0]), false, argc, argv, ret_operands)
