/*
 * The mount tree of a jail. The builder, real root in a private mount namespace, puts it together
 * below its working directory (the stage) from super blocks of the initial user namespace, so that
 * overlayfs can keep its marks on a tmpfs of any kernel. The child then copies that namespace into
 * one that its own user namespace owns, which locks every mount and flag in place, and pivots.
 *
 * Mount points are directories that the builder itself made in the writable layer, never ones that
 * a template chose: a symlink of that name in the template is shadowed.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "sandboxd/err.h"

/* Names below the stage. */
#define STAGE_LOWER "lower"
#define STAGE_UPPER "upper"
#define STAGE_ROOT "root"

struct mounts_layer {
    uint64_t disk_bytes;
    uint64_t inodes;
    uint64_t shm_bytes; /* of /dev/shm where that is no part of the layer */
    uid_t base;         /* the inside root's host uid */
    int volume;         /* where the layer is to be, see volume.h; -1: in a tmpfs */
};

/* Makes the stage's directories; once, at start. */
int mounts_make_stage(const char *path, struct sd_err *err);

/* Gives the caller a private mount namespace in which nothing propagates. */
int mounts_unshare(struct sd_err *err);

/*
 * Builder, working directory = stage: where all goes that the sandbox writes. /dev/shm is a part of
 * it if it is a tmpfs, or else a tmpfs of its own: it is memory to those who use it.
 */
int mounts_writable_layer(const struct mounts_layer *layer, struct sd_err *err);

/* Builder: the template, its owners shifted into the range of userns. */
int mounts_template(const char *image_root, int userns, struct sd_err *err);

/* Builder: both of them as STAGE_ROOT, and takes the layers out of sight. */
int mounts_overlay(struct sd_err *err);

/* Builder: the same file system as the writable layer at dev/shm. */
int mounts_shm(struct sd_err *err);

/* Child: own mount namespace, working directory = the new root. */
int mounts_enter(struct sd_err *err);

/* Child: the new root becomes /, the old one goes. */
int mounts_pivot(struct sd_err *err);

/* Puts a detached mount onto a directory or file below dirfd, without following any symlink. */
int mounts_attach(int mount, int dirfd, const char *target, struct sd_err *err);

/* fsopen to fsmount. options: "key", "value" pairs ended by NULL; value "" = a flag. */
int mounts_new(const char *type, const char *const options[], unsigned int attributes,
               int *ret_mount, struct sd_err *err);
