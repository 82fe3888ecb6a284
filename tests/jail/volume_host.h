/*
 * A btrfs volume for the tests of one program: in a file, on a loop device, mounted in a mount
 * namespace of this process and of what it starts, so that it goes with them.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "tests/jail/jail_client.h"

#define VOLUME_MIB 320

/* Whether the kernel removes the qgroup of a subvolume with it, see sandboxd/volume.h. */
bool volume_drops_qgroups(void);

/* NULL, or what this host lacks for such a volume, beside what jails need. */
const char *volume_missing(void);

/* Mounts it; a failure ends the program. */
void volume_open(void);

/* Where it is mounted. */
const char *volume_path(void);

/* Runs a shell command in which %s, at most once, is that path. Returns its exit code. */
int volume_shell(const char *format);

/* How many lines a command as above prints that hold the word. */
int volume_count(const char *format, const char *word);

/* Of sandboxes, that is, other than the top level's. */
int volume_subvolumes(void);
int volume_qgroups(void);

/* Waits until nothing is left of removed subvolumes. Returns the bytes that are free then. */
uint64_t volume_settle(void);

/* Instead of cmocka's own: with a volume and a sandboxd on it as the group's state, or skipped. */
#define volume_main(tests)                                                                         \
    (volume_missing() == NULL ? cmocka_run_group_tests(tests, volume_start, volume_stop)           \
                              : volume_skip(volume_missing()))

int volume_start(void **state);
int volume_stop(void **state);
int volume_skip(const char *missing);
