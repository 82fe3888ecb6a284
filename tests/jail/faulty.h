/*
 * Which call of a sandboxd that was linked with faulty.c fails: a file that both map, named by
 * CROWNEST_TEST_FAULTS. A call that is chosen returns its failure and does nothing.
 */
#pragma once

#include <stdint.h>

struct faults {
    /* Calls of sandboxd itself, and of its children (builders, removers, jails), to go until one
     * fails; 0: none does. */
    uint32_t own;
    uint32_t children;
    int32_t error;   /* with this errno; 0: EIO */
    char only[32];   /* calls of this name alone count; empty: all */
    char failed[32]; /* the name of the one that did */
};
