/*
 * What sandboxd must know again after its own death, as one small file for each sandbox in its run
 * directory (a tmpfs): "slot pid start-time". The kernel is asked whether it is still true.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "sandboxd/err.h"
#include "sandboxd/wire.h"

/* Makes the directory. The string stays the caller's. */
int inventory_init(const char *path, struct sd_err *err);

/* Notes a sandbox; pid 0 = its jail is not complete. Replaces what was noted. */
int inventory_put(const char *id, uint32_t slot, pid_t pid, struct sd_err *err);

void inventory_remove(const char *id);

struct inventory_entry {
    char id[SD_ID_SIZE];
    uint32_t slot;
    pid_t pid;  /* of nest-init; 0 = its jail was not complete */
    bool alive; /* that very process still runs, in the sandbox's cgroup */
};

/* Calls each with every sandbox noted. */
int inventory_each(void (*each)(const struct inventory_entry *entry));
