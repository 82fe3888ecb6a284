/*
 * Room on the disk that holds the service's state: how much there is, and how much of it is kept in
 * reserve, so that the database can still be written when logs and artifacts have filled the rest.
 *
 * Half of the reserve is there physically, as the ballast: a file whose blocks are given back
 * when the database has failed to write for want of room, and taken again by whoever asks when
 * there is room. Until then it counts as free.
 *
 * Functions may be called from any thread, and block only as statvfs does.
 */
#pragma once

#include <stdint.h>

#include "server/util/err.h"
#include "server/util/status.h"

/* The reserve unless told otherwise: 2 % of the disk, within these bounds. */
#define SPACE_RESERVE_MAX (256ULL << 20)
#define SPACE_RESERVE_MIN (32ULL << 20)
/* Files that can still be made; a file system that does not count them has enough. */
#define SPACE_RESERVE_INODES 1024

struct space;

/*
 * directory: on the disk in question, and where the ballast goes; must exist. reserve_bytes: 0 for
 * the default. A file system that cannot give blocks in advance goes without a ballast.
 */
int space_new(const char *directory, uint64_t reserve_bytes, struct space **ret_space,
              struct err *err);
/* Leaves the ballast where it is, for the next to find. NULL is fine. */
void space_free(struct space *space);

struct space_report {
    uint64_t free_bytes;    /* for us, the ballast not included */
    uint64_t total_bytes;   /* of the file system */
    uint64_t free_inodes;   /* UINT64_MAX where they are not counted */
    uint64_t reserve_bytes; /* what must be free, the ballast included */
    uint64_t ballast_bytes; /* what it holds now */
};

void space_look(struct space *space, struct space_report *ret_report);

/* Whether new work may come: RESOURCE_EXHAUSTED DISK_FULL, retryable, when not. */
struct status space_admit(struct space *space);

/* A write has failed for want of room: gives the ballast back. */
void space_give_way(struct space *space);
