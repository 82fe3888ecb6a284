/*
 * Turns SIGINT, SIGTERM and SIGHUP into a call of a function on a thread of its own, where it may
 * block and allocate. The second signal ends the process at once.
 *
 * interrupt_init must be called before any other thread starts (the gRPC core's included), so that
 * all inherit the blocked signals.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

struct interrupt {
    void (*handler)(void *context);
    void *context;
    int signals; /* a signalfd */
    int stop;    /* an eventfd */
    pthread_t thread;
    _Atomic int received; /* the first signal, 0 while none came */
};

/* Blocks the signals and begins to listen. 0, or -errno. */
int interrupt_init(struct interrupt *interrupt, void (*handler)(void *context), void *context);

/* Ends the thread, after a handler that is running. The signals stay blocked. */
void interrupt_done(struct interrupt *interrupt);
