/*
 * What surrounds a hostile sandbox: a neighbour that lives and works, lures on the host that nobody
 * may find, and canaries of the host that must not change. One at a time, on the test's thread.
 */
#pragma once

#include <stdint.h>

#include "tests/jail/jail_client.h"

#define HOST_SHM_KEY 0x43724e73

#define HOST_HASH_SIZE 32

struct host {
    struct jail_daemon *daemon;
    struct jail_box neighbour;
    int beat_in;  /* a line that goes in here … */
    int beat_out; /* … comes out here */
    int beat_err;
    uint64_t beats;
    int listener; /* lures: TCP on the loopback, and an abstract socket */
    int abstract;
    uint16_t port;
    int shm;
    pid_t bystander; /* a process of the host */
    uint8_t before[HOST_HASH_SIZE];
    char template_sums[512]; /* of some of its files, as the neighbour reads them */
    int64_t clock_offset_ns;
};

/* Sets all of it up and takes the canaries' state. */
void host_open(struct host *host, struct jail_daemon *daemon);
/* Fails the test when anything has changed, a lure was touched, or the neighbour is disturbed. */
void host_check(struct host *host);
/* Checks once more, and removes all of it. */
void host_close(struct host *host);

/* One line there and back: the neighbour's process that was there at the start still serves. */
void host_beat(struct host *host);

/* Starts one of hostile_floods.h, flags those of a spawn, and waits until it is in full swing. */
void host_start_flood(struct jail_box *box, uint32_t user, uint32_t flags, const char *script,
                      int ret_fds[3]);

/* Runs a command of each user in the box and compares its posture with posture.h. */
void host_check_jail(struct jail_box *box);
