/* What the files of a sandbox's control groups say, on either layout. */
#pragma once

#include <stdbool.h>

#define GROUP_VALUE_SIZE 64

/*
 * Reads up to the first newline. hierarchy: "/cpu" or the like on a v1 host, "" of the v2 tree.
 * False when the host has no such file.
 */
bool group_read(const char *id, const char *hierarchy, const char *name,
                char ret_value[GROUP_VALUE_SIZE]);

/* Waits until somebody has written this; false as above. */
bool group_await(const char *id, const char *hierarchy, const char *name, const char *expected);
