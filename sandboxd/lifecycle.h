/*
 * What happens to a sandbox between SD_CREATE and the last trace of it. Answers are given through
 * the function set at start, when the work is done. Single-threaded.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "sandboxd/inventory.h"
#include "sandboxd/policy.h"
#include "sandboxd/sandbox.h"

struct lifecycle_config {
    const struct sd_policy *policy;
    const char *stage;
    int init_image;
    int seccomp_filter;
    /* Sends a reply to whoever asked; descriptors stay the caller's. Whether it was sent. */
    bool (*answer)(const struct sandbox_asker *asker, const struct sd_reply *reply, const int *fds,
                   size_t fd_count);
};

/* The config must stay. */
void lifecycle_init(const struct lifecycle_config *config);

/* WAITING: begins the jail now or when a builder is free. The creator is answered later. */
void lifecycle_create(struct sandbox *sandbox);

/* Any other state but ENDING: kills and removes it. The killer, if any, is answered later. */
void lifecycle_kill(struct sandbox *sandbox);

/*
 * Takes over a sandbox of an earlier sandboxd: one whose init lives goes on, one whose init has
 * ended waits for its SD_KILL, and one whose jail was not complete is removed.
 */
void lifecycle_take_over(const struct inventory_entry *entry);

/* The events of the loop. */
void lifecycle_on_work(uint32_t slot);
void lifecycle_on_init_end(uint32_t slot);

/* Ends builders that are over their time. Returns how long the loop may wait, -1 = for ever. */
int lifecycle_check_deadlines(void);
