/*
 * For tests of a sandboxd that was linked with faulty.c: chooses what fails in it, and sees that
 * nothing is left afterwards.
 */
#pragma once

#include "tests/jail/faulty.h"
#include "tests/jail/fixture.h"

#define FAULTS_MANY 2000 /* more calls than anything makes */

/* Shared with every sandboxd that is started from here on. */
extern struct faults *faults;

/* Group set-up and tear-down: as fixture_start, and *state is the struct jail_daemon. */
int faults_start(void **state);
int faults_stop(void **state);

/* See struct faults; what was chosen before is forgotten, and what has failed. */
void faults_choose(uint32_t own, uint32_t children, uint32_t jails);
bool faults_failed(void);

/* What sandboxd has while no sandbox is there. */
struct faults_belongings {
    unsigned int descriptors;
    unsigned int mounts;
};
struct faults_belongings faults_belongings(struct jail_daemon *daemon);

/*
 * That of this sandbox no group is left in any hierarchy, and no note; that sandboxd has what it
 * had, and no child. While something is still ending it waits for that, and fails in the end.
 */
void faults_assert_nothing_of(struct jail_daemon *daemon, const char *id,
                              const struct faults_belongings *before);

/* That an error is a whole one: a code, a step and what was tried. */
void faults_assert_said(const struct sd_reply *reply);

/* 0: there is none. */
uint32_t faults_state_of(struct jail_daemon *daemon, const char *id);
