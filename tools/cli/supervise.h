/*
 * Keeps daemons running: one that ends by itself is started again, at once the first time and after
 * longer and longer pauses from then on, until one gives it up.
 *
 * A daemon depends on those that stand before it: it is started when all of them serve, and stays
 * when one of them ends. Single-threaded; the caller blocks the signals and opens the signalfd.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "tools/cli/daemon.h"

struct supervise_limits {
    uint64_t first_pause_ms;   /* after the second failure in a row; doubles */
    uint64_t longest_pause_ms; /* between two starts */
    uint64_t steady_ms;        /* who served for so long begins a new row */
    unsigned failures_max;     /* in a row; one more, and it is given up */
};

extern const struct supervise_limits supervise_defaults;

enum supervise_state {
    SUPERVISE_SERVING,
    SUPERVISE_DOWN,     /* it is started when it is due */
    SUPERVISE_STARTING, /* it is killed if it is not ready when it is due */
    SUPERVISE_STOPPING, /* asked to end, in order to be started again; killed when it is due */
};

struct supervised {
    struct daemon daemon;
    /* Starts it without waiting until it serves, by daemon_start. 0, or -errno. */
    int (*launch)(void *context, struct daemon *ret_daemon, struct err *ret_err);
    /* It serves again, or it has ended: then daemon->pid is 0. */
    void (*changed)(void *context, const struct daemon *daemon);
    void *context;
    uint64_t ready_ms; /* how long its start may take */
    uint64_t stop_ms;  /* how long its end may take */
    bool restartable;  /* SIGUSR1 is for this one */

    /* supervise()'s own; zeros: it serves. */
    enum supervise_state state;
    uint64_t due_ms;
    uint64_t since_ms; /* when it began to serve; 0: before supervise() did */
    unsigned failures; /* in a row */
};

enum supervise_verdict {
    SUPERVISE_ASKED,  /* SIGINT, SIGTERM or SIGHUP came */
    SUPERVISE_GAVE_UP /* one of them cannot be kept running; the others may run */
};

/*
 * Begins with all of them serving and returns when there is no more to do, with daemons in whatever
 * state they are. SIGUSR1 stops what is restartable and starts it again. Says on stderr what
 * happens.
 */
enum supervise_verdict supervise(struct supervised *items, size_t count, int signals,
                                 const struct supervise_limits *limits);
