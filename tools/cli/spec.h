/*
 * A command to run, from flags.
 */
#pragma once

#include "crownest/v1/command.pb-c.h"
#include "tools/cli/flags.h"

#define SPEC_NO_TIMEOUT UINT64_MAX

struct spec_flags {
    const char *shell; /* "": the operands are what to run */
    const char *cwd;
    const char *user;
    uint64_t timeout; /* seconds, or SPEC_NO_TIMEOUT */
    struct flag_list env;
    struct flag_list collect;
    bool terminal; /* of the size of ours, if we have one */
    bool keep_stdin;
};

struct spec;

/* Points to everything that it is given. NULL when memory is out. */
struct spec *spec_new(const struct spec_flags *flags, const char *sandbox_id, char **argv,
                      size_t argc);
void spec_free(struct spec *spec);

/* Lives as long as the spec. */
Crownest__V1__CommandSpec *spec_message(struct spec *spec);
