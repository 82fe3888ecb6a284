/*
 * The server's end of the socket to sandboxd. Functions block until the answer comes or
 * LIMIT_SANDBOXD_WAIT_MS have passed, and may be called from any thread; many may wait at once. A
 * lost connection fails what waits with -ECONNRESET and is made anew by the next call.
 */
#pragma once

#include <stdbool.h>

#include "sandboxd/wire.h"
#include "server/util/err.h"

struct sandboxd;

int sandboxd_new(const char *socket_path, struct sandboxd **ret_sandboxd, struct err *err);
void sandboxd_free(struct sandboxd *sandboxd);

/* ret_fds: SD_FD_COUNT descriptors, the caller's. On failure err names the step. */
int sandboxd_create(struct sandboxd *sandboxd, const char *id,
                    const uint8_t template_digest[SD_DIGEST_SIZE], const struct sd_limits *limits,
                    int ret_fds[SD_FD_COUNT], struct err *err);

/* Returns 0 when nothing of it is left, also when there was nothing; fills the reply's usage. */
int sandboxd_kill(struct sandboxd *sandboxd, const char *id, struct sd_reply *ret_reply,
                  struct err *err);

/* Hands out its descriptors anew, as sandboxd_create does. -ENOENT; -EBUSY: it is not alive. */
int sandboxd_adopt(struct sandboxd *sandboxd, const char *id, int ret_fds[SD_FD_COUNT],
                   struct err *err);

/* Stops all processes of it, or lets them go on. It is so already: -EBUSY. */
int sandboxd_set_frozen(struct sandboxd *sandboxd, const char *id, bool frozen, struct err *err);

/* What it has used so far, and uses. */
int sandboxd_stats(struct sandboxd *sandboxd, const char *id, struct sd_reply *ret_reply,
                   struct err *err);

/* Calls visit with each sandbox that sandboxd knows, after the last one was heard of. */
int sandboxd_inventory(struct sandboxd *sandboxd,
                       void (*visit)(void *arg, const struct sd_reply *entry), void *arg,
                       struct err *err);
