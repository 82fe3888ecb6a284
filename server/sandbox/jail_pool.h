/*
 * Jails, built when they are asked for or in advance. A jail has an id of its own, which nothing
 * but sandboxd and the records see; a sandbox claims one for life, and a jail that was claimed is
 * never given to another.
 *
 * The pool keeps `size` jails ready for each kind (template and limits) that was asked for lately.
 * It fills up from a thread of its own, one jail at a time, when half of them are gone, and steps
 * back while somebody waits for a jail that was not ready. A jail of which it is not known whether
 * sandboxd has it, because the connection broke before the answer came, is killed by that thread as
 * soon as sandboxd is there again. Functions may be called from any thread but the loop's.
 */
#pragma once

#include "sandboxd/wire.h"
#include "server/sandbox/sandboxd.h"
#include "server/util/err.h"
#include "server/util/id.h"

#define JAIL_POOL_SIZE_MAX 64   /* ready jails of one kind */
#define JAIL_POOL_KINDS_MAX 4   /* kinds kept ready; the one asked for longest ago makes room */
#define JAIL_POOL_LOST_MAX 1024 /* jails to be killed; more are found at the next start */

struct jail_pool;

struct jail {
    char id[ID_SIZE];
    int fds[SD_FD_COUNT];
};

/* size: ready jails of each kind; 0: each one is built when it is asked for. */
struct jail_pool *jail_pool_new(struct sandboxd *sandboxd, unsigned size);
/* Kills those that nobody claimed. */
void jail_pool_free(struct jail_pool *pool);

/*
 * A jail that is ready, if there is one. Its descriptors are the caller's, and its id is for
 * sandboxd_kill. Returns whether there was one.
 */
bool jail_pool_claim(struct jail_pool *pool, const uint8_t template_digest[SD_DIGEST_SIZE],
                     const struct sd_limits *limits, struct jail *ret_jail);

/* Builds one now; id says how it is called. */
int jail_pool_build(struct jail_pool *pool, const char *id,
                    const uint8_t template_digest[SD_DIGEST_SIZE], const struct sd_limits *limits,
                    struct jail *ret_jail, struct err *err);
