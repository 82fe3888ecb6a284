#include <stdio.h>

#include "tools/cli/command.h"

#ifndef CROWNEST_VERSION
#error "the build says which version this is"
#endif

static int version_run(const struct command *command, int argc, char **argv)
{
    (void)command;
    (void)argc;
    (void)argv;
    return puts("crownest " CROWNEST_VERSION) == EOF ? EXIT_FAILED : EXIT_OK;
}

const struct command command_version = {
    .name = "version",
    .operands = "",
    .summary = "print the version",
    .run = version_run,
};
