/*
 * Files of the sandbox, as its own user sees them. In a worker only: the working directory changes,
 * and a call may block until the worker's deadline, after which it fails with -ETIMEDOUT.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "sandboxd/init/wire.h"

/* Arms the deadline; it interrupts whatever blocks, again and again. */
int files_set_deadline(unsigned int seconds);

/* An open regular file. Directories are -EISDIR, other things -EINVAL, symlinks -ELOOP if barred.
 */
int files_read(const struct nest_file *file, uint64_t *ret_size, int *ret_fd);

/*
 * Reads the chunks of the pipe into a new file, which at their end takes the place of the old one.
 * Whatever goes wrong, nothing is left behind.
 */
int files_write(const struct nest_file *file, int pipe, uint64_t *ret_written);

/* Writes one record for each entry but "." and "..", in no order. */
int files_list(const struct nest_file *file, int pipe, uint64_t *ret_count);

/* Writes the record of one file; a symlink is described itself. */
int files_stat(const struct nest_file *file, int pipe);

/* Whether the deadline has passed. */
bool files_expired(void);

/* Makes each missing directory of path, which ends before its last component. */
int files_make_parents(char *path);

/* Opens below /workspace, or anywhere for an absolute path; resolve: RESOLVE_* bits. Or -errno. */
int files_open(const char *path, uint64_t flags, uint64_t resolve);

/* Writes one record; the name may not be longer than NEST_PATH_MAX. */
int files_put_entry(int pipe, const struct stat *st, const char *name, size_t name_bytes);

/* The path has an end within its field, and is not empty. */
bool files_path_is_good(const struct nest_file *file);
