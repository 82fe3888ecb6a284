#include "tools/cli/flags.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What getopt_long returns for the flag with an index, so that letters need not be unique ids. */
#define FIRST_ID 256
#define HELP_ID (FIRST_ID + FLAGS_MAX)

int flags_mistake(const struct command *command, const char *format, ...)
{
    va_list args;

    fprintf(stderr, "crownest %s: ", command->name);
    va_start(args, format);
    (void)vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\nTry `crownest %s --help`.\n", command->name);
    return EXIT_USAGE;
}

int flags_number(const char *text, uint64_t max, uint64_t *ret_number)
{
    char *end;

    if (text[0] < '0' || text[0] > '9')
        return -EINVAL;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (errno || *end || number > max)
        return -EINVAL;
    *ret_number = number;
    return 0;
}

static void print_help(const struct command *command, const struct flag *flags, size_t count)
{
    printf("usage: crownest %s [FLAGS]%s%s\n\n%s\n", command->name, command->operands[0] ? " " : "",
           command->operands, command->summary);
    if (command->manual)
        printf("\n%s", command->manual);
    printf("\nflags:\n");
    for (size_t i = 0; i < count; i++) {
        char left[64];
        char letter[5] = "";

        if (flags[i].letter)
            (void)snprintf(letter, sizeof(letter), "-%c, ", flags[i].letter);
        (void)snprintf(left, sizeof(left), "%s--%s%s%s", letter, flags[i].name,
                       flags[i].operand ? " " : "", flags[i].operand ? flags[i].operand : "");
        printf("  %-26s %s\n", left, flags[i].help);
    }
    printf("  %-26s %s\n", "--help", "this text");
}

static enum flags_result apply(const struct command *command, const struct flag *flag,
                               const char *text)
{
    switch (flag->kind) {
    case FLAG_SWITCH:
        *(bool *)flag->value = true;
        return FLAGS_OK;
    case FLAG_TEXT:
        *(const char **)flag->value = text;
        return FLAGS_OK;
    case FLAG_NUMBER:
        if (!flags_number(text, flag->max, flag->value))
            return FLAGS_OK;
        (void)flags_mistake(command, "--%s takes a number from 0 to %llu, not \"%s\"", flag->name,
                            (unsigned long long)flag->max, text);
        return FLAGS_WRONG;
    case FLAG_LIST: {
        struct flag_list *list = flag->value;

        if (list->count < FLAG_LIST_MAX) {
            list->items[list->count++] = text;
            return FLAGS_OK;
        }
        (void)flags_mistake(command, "--%s was given more than %d times", flag->name,
                            FLAG_LIST_MAX);
        return FLAGS_WRONG;
    }
    }
    return FLAGS_WRONG;
}

/* Fills getopt's two tables; `letters` begins with what makes it silent or stop early. */
static void make_tables(const struct flag *flags, size_t count, struct option *options,
                        char *letters)
{
    for (size_t i = 0; i < count; i++) {
        bool valued = flags[i].kind != FLAG_SWITCH;

        options[i] = (struct option){.name = flags[i].name,
                                     .has_arg = valued ? required_argument : no_argument,
                                     .val = FIRST_ID + (int)i};
        if (flags[i].letter) {
            *letters++ = flags[i].letter;
            if (valued)
                *letters++ = ':';
        }
    }
    options[count] = (struct option){.name = "help", .val = HELP_ID};
    options[count + 1] = (struct option){0};
    *letters = '\0';
}

static const struct flag *find_flag(const struct flag *flags, size_t count, int id)
{
    if (id >= FIRST_ID && (size_t)(id - FIRST_ID) < count)
        return &flags[id - FIRST_ID];
    for (size_t i = 0; i < count; i++)
        if (flags[i].letter && flags[i].letter == id)
            return &flags[i];
    return NULL;
}

/* getopt says in optopt which letter it was, for it may stand among others; 0: a long one. */
static void report_flag(const struct command *command, int id, const char *argument)
{
    const char *what = id == ':' ? "needs a value" : "is unknown";

    if (optopt > 0 && optopt < FIRST_ID)
        (void)flags_mistake(command, "the flag -%c %s", optopt, what);
    else
        (void)flags_mistake(command, "the flag %s %s", argument, what);
}

enum flags_result flags_parse(const struct command *command, const struct flag *flags,
                              size_t flag_count, bool stop_at_operand, int argc, char **argv,
                              int *ret_operands)
{
    struct option options[FLAGS_MAX + 2];
    char letters[2 * FLAGS_MAX + 3];
    char *at = letters;
    int id;

    if (stop_at_operand)
        *at++ = '+';
    *at++ = ':';
    make_tables(flags, flag_count, options, at);
    optind = 0;
    while ((id = getopt_long(argc, argv, letters, options, NULL)) != -1) {
        const struct flag *flag = find_flag(flags, flag_count, id);

        if (id == HELP_ID) {
            print_help(command, flags, flag_count);
            return FLAGS_HELP;
        }
        if (!flag) {
            report_flag(command, id, argv[optind - 1]);
            return FLAGS_WRONG;
        }
        enum flags_result result = apply(command, flag, optarg);
        if (result != FLAGS_OK)
            return result;
    }
    *ret_operands = optind;
    return FLAGS_OK;
}
