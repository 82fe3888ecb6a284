/*
 * Making a sandbox from flags, for `create` and `run`.
 */
#pragma once

#include "crownest/v1/sandbox.pb-c.h"
#include "tools/cli/connect.h"

struct creation {
    const char *template;
    uint64_t ttl;       /* seconds */
    uint64_t lease;     /* seconds; 0: none */
    const char *parent; /* a sandbox's id; "": none */
    uint64_t memory;    /* MiB, and so on; 0: the default */
    uint64_t cpu;
    uint64_t processes;
    uint64_t disk;
    struct flag_list labels; /* "K=V" */
    struct flag_list env;    /* "K=V"; K alone: ours */
};

#define CREATION_DEFAULTS ((struct creation){.template = "", .ttl = 300, .parent = ""})

/*
 * Asks for it, again with the same request_id when the service goes away meanwhile. 0 with a
 * response to free, or EXIT_FAILED or EXIT_USAGE after printing what is wrong.
 */
int creation_send(const struct creation *creation, const struct command *command,
                  struct crownest_client *client,
                  Crownest__V1__CreateSandboxResponse **ret_response);

/*
 * "K=V" → K, allocated, and V. With `ours` K alone takes its value from our environment, and is
 * left out if it is not set there: then *ret_key is NULL. 0, -EINVAL or -ENOMEM.
 */
int creation_split(const char *text, bool ours, char **ret_key, const char **ret_value);
