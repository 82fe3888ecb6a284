/*
 * What crownestd and sandboxd say to each other: fixed-layout messages over a unix SOCK_SEQPACKET
 * socket, one struct a message, never more and never less; native byte order, since both ends are
 * one host. sandboxd takes enums, ids and bounded numbers only: no path, uid, mount or capability
 * ever comes from the wire.
 *
 * crownestd may have many requests under way; replies carry the request's serial and come in any
 * order. A request that sandboxd cannot parse (size, version, alphabet, descriptors attached) ends
 * the connection.
 */
#pragma once

#include <stdint.h>

#define SD_WIRE_VERSION 2
#define SD_ID_SIZE 32     /* "sbx_" and 26 characters of Crockford base32, NUL-padded */
#define SD_DIGEST_SIZE 32 /* SHA-256 of a template's image */
#define SD_DETAIL_SIZE 160
#define SD_MAX_SANDBOXES 4096

enum sd_op {
    SD_HELLO = 1, /* must come first: version */
    SD_CREATE,    /* builds a jail and starts nest-init in it; reply has the descriptors below */
    SD_KILL,  /* kills everything in it and removes every trace; reply comes when none is left */
    SD_ADOPT, /* hands out descriptors of a living sandbox anew; nest-init drops its old peer */
    SD_INVENTORY, /* one reply for each sandbox, then one with an empty id */
    SD_STATS,     /* what it has used so far, and uses now */
    SD_FREEZE,    /* stops every process of it */
    SD_THAW,      /* lets them run again */
    SD_OP_COUNT
};

/* Descriptors of a reply to SD_CREATE and SD_ADOPT, in this order. */
enum sd_fd {
    SD_FD_CONTROL, /* SOCK_SEQPACKET to nest-init, see init/wire.h */
    SD_FD_PIDFD,   /* of nest-init: readable when the sandbox is dead */
    SD_FD_COUNT
};

/* The bounds of a jail. sandboxd refuses what its own maxima do not allow. */
struct sd_limits {
    uint64_t memory_bytes;
    uint64_t disk_bytes;       /* of the writable layer */
    uint64_t disk_inodes;      /* files, directories and symlinks in it */
    uint64_t io_bytes_per_sec; /* read from the host's disks, and written to them, each */
    uint32_t cpu_millis;
    uint32_t max_processes;
    uint32_t max_open_files; /* of one process */
    uint32_t max_ptys;
};

struct sd_request {
    uint32_t version;
    uint32_t op;
    uint64_t serial;
    char sandbox[SD_ID_SIZE];                /* all but SD_HELLO, SD_INVENTORY */
    uint8_t template_digest[SD_DIGEST_SIZE]; /* SD_CREATE */
    struct sd_limits limits;                 /* SD_CREATE */
};

struct sd_reply {
    uint32_t version;
    uint32_t op;
    uint64_t serial;
    char sandbox[SD_ID_SIZE];
    int32_t error;               /* 0, or a negative errno */
    uint32_t state;              /* SD_INVENTORY: enum sd_state */
    char step[32];               /* on error: the step that failed, such as "overlay" */
    char detail[SD_DETAIL_SIZE]; /* on error: what was tried, for a person */
    uint64_t cpu_usec; /* SD_KILL, SD_STATS, SD_INVENTORY: CPU time of all that ran in it */
    uint64_t memory_peak_bytes; /* SD_KILL, SD_STATS: 0 when the host does not say */
    uint64_t memory_bytes;      /* SD_STATS: in use now */
    uint32_t processes;         /* SD_STATS: and threads, nest-init among them */
    uint32_t oom_kills; /* SD_KILL, SD_STATS: processes killed by the kernel for want of memory */
};

enum sd_state {
    SD_STATE_RUNNING = 1,
    SD_STATE_FROZEN,
    SD_STATE_DEAD, /* its init has ended; SD_KILL removes what is left */
};
