/*
 * A disk that a test can fill: a tmpfs in a mount namespace of the test's own, which nobody else
 * sees and which is gone with the process.
 */
#pragma once

#include <stddef.h>

/*
 * Before the process has a second thread. Returns NULL, or what is missing for it: then there can
 * be no small disk.
 */
const char *small_disk_enter(void);
/* Mounts one on the directory. options: as `size=64m`. 0 or -errno. */
int small_disk_mount(const char *path, const char *options);

/* Makes the file `name` on it, or lets it grow, until so many bytes are left at most. */
void small_disk_fill(const char *path, const char *name, size_t leave);
void small_disk_remove(const char *path, const char *name);
/* Bytes that are free. */
size_t small_disk_free_bytes(const char *path);

/*
 * For cmocka: of a group, and of each of its tests, whose state is the path of a disk of 64 MiB and
 * 2000 files.
 */
int small_disk_group(void **state);
int small_disk_setup(void **state);
int small_disk_teardown(void **state);
/* The path; skips the test where there can be none. */
char *small_disk_of(void **state);

#define SMALL_DISK_TEST(name)                                                                      \
    cmocka_unit_test_setup_teardown(name, small_disk_setup, small_disk_teardown)
