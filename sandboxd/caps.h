/*
 * What root inside may do, over its own range of ids only: own and read any of its files, change
 * ids, kill, bind low ports, set file capabilities. Enough for package managers; none of it has a
 * meaning outside the user namespace.
 */
#pragma once

#include <stdint.h>

#include "sandboxd/err.h"

/* Bit n = capability n. */
#define CAPS_BOUNDING                                                                              \
    ((1ULL << 0 /* CHOWN */) | (1ULL << 1 /* DAC_OVERRIDE */) | (1ULL << 3 /* FOWNER */) |         \
     (1ULL << 4 /* FSETID */) | (1ULL << 5 /* KILL */) | (1ULL << 6 /* SETGID */) |                \
     (1ULL << 7 /* SETUID */) | (1ULL << 10 /* NET_BIND_SERVICE */) | (1ULL << 31 /* SETFCAP */))

/*
 * What sandboxd itself uses: SYS_ADMIN and MKNOD for mounts, namespaces and /dev; CHOWN,
 * DAC_OVERRIDE, FOWNER, SETUID, SETGID to give a range of ids its files and its map; KILL and
 * SYS_PTRACE for processes of such a range; NET_ADMIN for the length of its socket's buffer.
 */
#define CAPS_OWN                                                                                   \
    ((1ULL << 0 /* CHOWN */) | (1ULL << 1 /* DAC_OVERRIDE */) | (1ULL << 3 /* FOWNER */) |         \
     (1ULL << 5 /* KILL */) | (1ULL << 6 /* SETGID */) | (1ULL << 7 /* SETUID */) |                \
     (1ULL << 8 /* SETPCAP */) | (1ULL << 12 /* NET_ADMIN */) | (1ULL << 19 /* SYS_PTRACE */) |    \
     (1ULL << 21 /* SYS_ADMIN */) | (1ULL << 27 /* MKNOD */))

/* Child: drops all but CAPS_BOUNDING from the bounding set, and forbids gaining any by exec. */
int caps_drop(struct sd_err *err);

/* sandboxd: keeps CAPS_OWN alone in every set, and forbids gaining any by exec. */
int caps_keep_own(struct sd_err *err);
