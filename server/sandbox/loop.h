/*
 * One thread that waits: for descriptors, for points in time, and for tasks that other threads
 * post. What it calls must not block.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct loop;

/* Embedded in its owner, who keeps it alive while it is added. */
struct loop_source {
    int fd;
    void (*ready)(struct loop_source *source, uint32_t epoll_events);
};

/* Embedded in its owner, who keeps it alive while it is armed. */
struct loop_timer {
    void (*fire)(struct loop_timer *timer);
    uint64_t due_ms;
    size_t slot; /* the loop's; 0: not armed */
};

struct loop_task {
    void (*run)(struct loop_task *task);
    struct loop_task *next;
};

int loop_new(struct loop **ret_loop);
/*
 * Ends the thread: nothing is called any more. What owns sources and timers may go after this, and
 * the loop after them.
 */
void loop_stop(struct loop *loop);
void loop_free(struct loop *loop);

/* From any thread. Level-triggered. */
int loop_add(struct loop *loop, struct loop_source *source, uint32_t epoll_events);
/* From the loop's thread only: ready is not called again. */
void loop_remove(struct loop *loop, struct loop_source *source);

/* From any thread; due in clock_monotonic_ms. Arming an armed timer moves it. */
void loop_arm(struct loop *loop, struct loop_timer *timer, uint64_t due_ms);
/* From any thread. Whether it was armed, and so will not fire. */
int loop_disarm(struct loop *loop, struct loop_timer *timer);

/* From any thread. Runs the task on the loop's thread. */
void loop_post(struct loop *loop, struct loop_task *task);
