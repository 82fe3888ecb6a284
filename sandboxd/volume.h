/*
 * Writable layers on disk: one btrfs subvolume for each sandbox, named by its id, below
 * DIR/crownest of a volume that the operator names. Without a volume layers are in memory, see
 * mounts.h; the functions for one sandbox then do nothing.
 *
 * What bounds a layer is its qgroup's max_rfer, which counts all that the subvolume refers to:
 * data, the whole of an extent even if a file still uses a part of it, and the nodes of its own
 * tree. max_excl would leave out what is shared with another subvolume, and so let a way to share
 * become a way round the limit. A sandbox meets EDQUOT where a tmpfs has ENOSPC.
 *
 * btrfs has no limit on inodes: they are items of that tree, some 400 bytes for an empty file, so
 * that files come to an end at the same limit, about 170,000 for each 64 MiB. An empty layer has
 * 16 KiB. What the kernel keeps of them in memory is charged to the sandbox. Checksums and the
 * books about extents are the volume's own, about two bytes for each hundred.
 *
 * The volume is best used for nothing else. Limits may add up to more than it has: when it is full
 * every sandbox on it has ENOSPC, and removing one works all the same. Its journal is shared, so a
 * sandbox that writes at its limit over and over makes a neighbour's writes wait for commits.
 *
 * Some kernels, as Debian's 6.1.0-56, refuse to remove the qgroup of a subvolume and do not remove
 * it with the subvolume: there the qgroup of each sandbox stays when that is gone, empty, two items
 * in the tree of quotas. `btrfs qgroup destroy` removes one.
 *
 * Works on full qgroups, which are switched on if there are none, and on simple ones.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "sandboxd/err.h"
#include "sandboxd/wire.h"

/* 0 when DIR lies on btrfs, or -errno. Changes nothing. */
int volume_check(const char *dir, struct sd_err *err);

/*
 * Takes DIR/crownest for this process and all that it forks, in this mount namespace, and makes
 * sure that limits hold, which may mean to wait for the kernel to count what is on the volume. At
 * start. -EBUSY when another sandboxd has it.
 */
int volume_init(const char *dir, struct sd_err *err);

/*
 * Builder, before it changes its mount namespace: a new layer of at most `bytes`. *ret_mount is a
 * detached mount of it; -1 without a volume. What a failure leaves is for volume_remove.
 */
int volume_create(const char *id, uint64_t bytes, int *ret_mount, struct sd_err *err);

/*
 * Destroys a layer whose sandbox is dead; a missing one is none left, so 0. Takes as long as the
 * kernel needs to forget the inodes that it has in memory, some 10 us each; what is on the disk
 * goes in the background, and is free a commit later. 0 or -errno.
 */
int volume_remove(const char *id);

/* Destroys all layers but those to be kept: leftovers of an earlier life. */
int volume_sweep(bool (*keep)(const char id[SD_ID_SIZE]), struct sd_err *err);
