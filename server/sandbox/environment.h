/* The environment of a command: what every command has, then the sandbox's own, then its own. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/util/buf.h"

struct environment {
    const char *user; /* "user" or "root" */
    const char *sandbox_id;
    bool terminal;            /* TERM has a default */
    const char *const *outer; /* NAME=value, replaces the defaults */
    size_t outer_count;
    const char *const *inner; /* replaces both */
    size_t inner_count;
};

/* Appends each variable with its NUL, once; returns how many. */
uint32_t environment_append(const struct environment *environment, struct buf *buf);
