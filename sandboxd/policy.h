/*
 * What sandboxd allows, whatever the server asks for: uid ranges, bounds, and the fixed parts of
 * each jail. Nothing here comes from the wire.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "sandboxd/err.h"
#include "sandboxd/wire.h"

#define POLICY_UIDS_PER_SANDBOX 65536U
#define POLICY_INSIDE_TTY_GROUP 5U

struct sd_policy {
    uint32_t uid_base; /* sandbox slot n owns [uid_base + n * 65536, + 65536) */
    uint32_t max_sandboxes;
    uint32_t max_builders; /* jails under construction at one time; more wait */
    uint32_t build_deadline_ms;
    struct sd_limits minimum;
    struct sd_limits maximum;
    uint32_t max_core_bytes;      /* RLIMIT_CORE */
    uint64_t max_locked_bytes;    /* RLIMIT_MEMLOCK */
    uint64_t max_queue_bytes;     /* RLIMIT_MSGQUEUE */
    uint32_t max_pending_signals; /* RLIMIT_SIGPENDING */
};

const struct sd_policy *policy_get(void);

/* 0, or -EINVAL with the number at fault named in err. */
int policy_check_limits(const struct sd_policy *policy, const struct sd_limits *limits,
                        struct sd_err *err);

/* "sbx_" and 26 characters of Crockford base32 in lower case, NUL-padded to SD_ID_SIZE. */
bool policy_id_is_valid(const char id[SD_ID_SIZE]);
