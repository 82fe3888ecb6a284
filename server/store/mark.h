/*
 * How far the database was synced, kept beside it: the sequence number of the last write that was
 * acknowledged as being on disk. RocksDB's log alone cannot tell an acknowledged write that was
 * lost from one that was never finished. The mark is not synced itself, so after a power failure it
 * may be too low, which only weakens the check; it is never too high.
 */
#pragma once

#include <stdint.h>

/* Opens or makes the file and reads it. Returns the descriptor or -errno. */
int mark_open(const char *path, uint64_t *ret_sequence);
/* Returns 0 or -errno. */
int mark_write(int fd, uint64_t sequence);
