/*
 * The table of sandboxes. A slot is also a range of ids: it is given out again only when nothing of
 * its last sandbox is left. Single-threaded.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "sandboxd/policy.h"
#include "sandboxd/wire.h"
#include "sandboxd/work.h"

/* Each a bit, for the table of requests. */
enum sandbox_state {
    SANDBOX_ABSENT = 1,
    SANDBOX_WAITING = 2, /* for a builder */
    SANDBOX_BUILDING = 4,
    SANDBOX_RUNNING = 8,
    SANDBOX_FROZEN = 16,
    SANDBOX_DEAD = 32,   /* init has ended, traces remain */
    SANDBOX_ENDING = 64, /* being removed */
};

/* Who waits for an answer. */
struct sandbox_asker {
    uint64_t connection; /* 0 = nobody */
    uint64_t serial;
};

struct sandbox_cpu_sample {
    int64_t at_ms; /* 0 = none yet */
    uint64_t used_usec;
};

/* For busy.c; all zeros to begin with. */
struct sandbox_cpu {
    struct sandbox_cpu_sample sample;
    uint32_t quota_millis; /* 0 = not read yet */
    uint32_t calm_looks;
    uint32_t first; /* of the CPUs that it runs on while it is busy */
    bool busy;
};

struct sandbox {
    enum sandbox_state state;
    char id[SD_ID_SIZE];
    uint8_t template_digest[SD_DIGEST_SIZE];
    struct sd_limits limits;
    pid_t pid;
    int pidfd;
    int control; /* the server's connection to nest-init, until the creator has it */
    struct work work;
    int64_t deadline_ms;   /* BUILDING */
    bool unwanted;         /* killed while it was built */
    struct sd_err failure; /* why the creation failed, or must; told when all is removed */
    struct sandbox_asker creator;
    struct sandbox_asker killer;
    struct sandbox_cpu cpu;
};

/* Slot 0 to sandbox_limit() - 1; ABSENT ones included. */
struct sandbox *sandbox_at(uint32_t slot);
uint32_t sandbox_slot(const struct sandbox *sandbox);
/* One more than the highest slot ever used. */
uint32_t sandbox_limit(void);

/* NULL when there is none. */
struct sandbox *sandbox_find(const char id[SD_ID_SIZE]);

/* A free slot under this id, state WAITING; NULL when all are taken. */
struct sandbox *sandbox_add(const struct sd_policy *policy, const char id[SD_ID_SIZE]);

/* The sandbox that an earlier sandboxd had in this slot, state DEAD; NULL when it is taken. */
struct sandbox *sandbox_restore(const struct sd_policy *policy, const char id[SD_ID_SIZE],
                                uint32_t slot);

/* Closes its descriptors and frees the slot. */
void sandbox_remove(struct sandbox *sandbox);
