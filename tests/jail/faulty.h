/*
 * Which call, or which step, of a sandboxd that was linked with faulty.c fails: a file that both
 * map, named by CROWNEST_TEST_FAULTS. A call that is chosen returns its failure and does nothing.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define FAULTS_STEPS 64
#define FAULTS_STEP_ERROR ESTALE

struct faults_step {
    char name[31];
    bool in_jail; /* taken by the jail's first process, else by the builder */
};

struct faults {
    /* Calls to go until one fails, 0: none does. Each kind of process has a count of its own, since
     * a builder and its jail go on at the same time. */
    uint32_t own;            /* of sandboxd itself */
    uint32_t children;       /* of builders and removers */
    uint32_t jails;          /* of the first processes of jails */
    int32_t error;           /* with this errno; 0: EIO */
    char only[32];           /* calls of this name alone count; empty: all */
    char failed[32];         /* the name of the one that did */
    bool hold;               /* builders and removers do not end */
    struct faults_step step; /* fails with FAULTS_STEP_ERROR; an empty name: none does */
    bool hang;               /* … or rather takes for ever */
    struct faults_step taken[FAULTS_STEPS];
    uint32_t taken_count;
    /* What the policy says of a sandboxd that starts now; 0: as it is. */
    uint32_t max_sandboxes;
    uint32_t max_builders;
    uint32_t build_deadline_ms;
};
