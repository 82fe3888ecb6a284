/* Sandboxes that only their records know, for tests of what is added up from them. */
#pragma once

#include "server/meter/meter.h"

#define LIVES_PROJECT "prj_00000000000000000000000001"
#define LIVES_KEY "key_00000000000000000000000001"
#define LIVES_NOON (1700049600ULL * 1000000) /* 2023-11-15 12:00 */
#define LIVES_HOUR (3600ULL * 1000000)

struct lives {
    struct store *store;
    struct meter *meter;
    struct arena *arena;
};

void lives_open(struct lives *lives, const char *directory);
void lives_close(struct lives *lives);

/*
 * A record that began to run at LIVES_NOON, of the standard runtime; id is a number. It lives on
 * until lives_end, and is put down as it is by lives_put.
 */
Crownest__Records__SandboxRecord *lives_begin(struct lives *lives, unsigned id);
void lives_put(struct lives *lives, const Crownest__Records__SandboxRecord *record);
/* Ends it so long after its beginning, with its rows. */
void lives_end(struct lives *lives, Crownest__Records__SandboxRecord *record, uint64_t at_us);
