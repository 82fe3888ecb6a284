/* What a host must have, and what weakens isolation on it. */
#pragma once

/*
 * Prints one line for each finding, with its remedy, and one for the kind of writable layer; volume
 * as for volume.h, or NULL. Returns how many make sandboxes impossible.
 */
int host_check_print(const char *volume);
