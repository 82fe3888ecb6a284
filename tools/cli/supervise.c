#include "tools/cli/supervise.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "server/util/clock.h"

#define ITEMS_MAX 4
#define NEVER UINT64_MAX

const struct supervise_limits supervise_defaults = {
    .first_pause_ms = 100, .longest_pause_ms = 10000, .steady_ms = 2000, .failures_max = 20};

static uint64_t pause_ms(unsigned failures, const struct supervise_limits *limits)
{
    uint64_t pause = failures > 1 ? limits->first_pause_ms : 0;

    for (unsigned i = 2; i < failures && pause < limits->longest_pause_ms; i++)
        pause *= 2;
    return pause < limits->longest_pause_ms ? pause : limits->longest_pause_ms;
}

/* Puts its next start off. False: it was the last one. */
static bool failed(struct supervised *item, const struct supervise_limits *limits)
{
    uint64_t now = clock_monotonic_ms();
    bool steady = item->state == SUPERVISE_SERVING && now - item->since_ms >= limits->steady_ms;

    item->failures = steady ? 1 : item->failures + 1;
    item->state = SUPERVISE_DOWN;
    if (item->failures > limits->failures_max) {
        fprintf(stderr, "crownest up: %s failed %u times in a row and is given up\n",
                item->daemon.name, item->failures);
        return false;
    }
    uint64_t pause = pause_ms(item->failures, limits);
    item->due_ms = now + pause;
    fprintf(stderr, "crownest up: %s is started again in %llu ms\n", item->daemon.name,
            (unsigned long long)pause);
    return true;
}

/* Its pidfd is readable. */
static bool take_end(struct supervised *item, const struct supervise_limits *limits)
{
    char how[64];

    if (!daemon_reap(&item->daemon, how, sizeof(how)))
        return true;
    item->changed(item->context, &item->daemon);
    if (item->state == SUPERVISE_STOPPING) {
        fprintf(stderr, "crownest up: %s stopped with %s\n", item->daemon.name, how);
        item->state = SUPERVISE_DOWN;
        item->due_ms = 0;
        return true;
    }
    fprintf(stderr, "crownest up: %s ended unexpectedly: %s\n", item->daemon.name, how);
    return failed(item, limits);
}

static bool launch(struct supervised *item, const struct supervise_limits *limits)
{
    struct err err = {0};

    item->state = SUPERVISE_STARTING;
    item->due_ms = clock_monotonic_ms() + item->ready_ms;
    if (!item->launch(item->context, &item->daemon, &err))
        return true;
    fprintf(stderr, "crownest up: %s\n", err.message);
    return failed(item, limits);
}

/* Its ready_fd is readable. Had it ended instead, it may have been reaped with that. */
static bool take_ready(struct supervised *item, const struct supervise_limits *limits)
{
    struct err err = {0};

    if (!daemon_take_ready(&item->daemon, &err)) {
        item->state = SUPERVISE_SERVING;
        item->since_ms = clock_monotonic_ms();
        fprintf(stderr, "crownest up: %s is ready again (pid %d)\n", item->daemon.name,
                (int)item->daemon.pid);
        item->changed(item->context, &item->daemon);
        return true;
    }
    fprintf(stderr, "crownest up: %s\n", err.message);
    if (!item->daemon.pid)
        return failed(item, limits);
    (void)pidfd_send_signal(item->daemon.pidfd, SIGKILL, NULL, 0);
    return true;
}

/* What is due by the clock. */
static bool take_time(struct supervised *item, const struct supervise_limits *limits)
{
    if (item->state == SUPERVISE_DOWN)
        return launch(item, limits);
    fprintf(stderr, "crownest up: %s takes too long to %s and is killed\n", item->daemon.name,
            item->state == SUPERVISE_STARTING ? "start" : "stop");
    (void)pidfd_send_signal(item->daemon.pidfd, SIGKILL, NULL, 0);
    item->due_ms = NEVER;
    return true;
}

static void restart(struct supervised *item)
{
    item->failures = 0;
    if (item->state == SUPERVISE_DOWN) {
        item->due_ms = 0;
        return;
    }
    if (item->state == SUPERVISE_STOPPING)
        return;
    fprintf(stderr, "crownest up: %s is restarted\n", item->daemon.name);
    item->state = SUPERVISE_STOPPING;
    item->due_ms = clock_monotonic_ms() + item->stop_ms;
    (void)pidfd_send_signal(item->daemon.pidfd, SIGTERM, NULL, 0);
}

/* True: it asks for the end of all. */
static bool take_signal(struct supervised *items, size_t count, int signals)
{
    struct signalfd_siginfo info;

    if (read(signals, &info, sizeof(info)) != (ssize_t)sizeof(info))
        return false;
    if (info.ssi_signo != SIGUSR1)
        return true;
    for (size_t i = 0; i < count; i++)
        if (items[i].restartable)
            restart(&items[i]);
    return false;
}

/* When the clock is of interest to it: not while it waits for one before it. */
static uint64_t due_of(const struct supervised *items, size_t index)
{
    if (items[index].state == SUPERVISE_SERVING)
        return NEVER;
    if (items[index].state == SUPERVISE_DOWN)
        for (size_t i = 0; i < index; i++)
            if (items[i].state != SUPERVISE_SERVING)
                return NEVER;
    return items[index].due_ms;
}

static int timeout_of(const struct supervised *items, size_t count)
{
    uint64_t now = clock_monotonic_ms();
    uint64_t due = NEVER;

    for (size_t i = 0; i < count; i++)
        due = due_of(items, i) < due ? due_of(items, i) : due;
    if (due == NEVER)
        return -1;
    return due > now ? (int)(due - now) : 0;
}

/* One of them, after the wait. False: it is given up. */
static bool look_after(struct supervised *items, size_t index, const struct pollfd polls[2],
                       const struct supervise_limits *limits)
{
    struct supervised *item = &items[index];

    if (polls[1].revents)
        return take_ready(item, limits);
    if (polls[0].revents)
        return take_end(item, limits);
    if (due_of(items, index) <= clock_monotonic_ms())
        return take_time(item, limits);
    return true;
}

/* What to wait for: the signals, and of each its end and its readiness. */
static void fill_polls(const struct supervised *items, size_t count, int signals,
                       struct pollfd *polls)
{
    *polls++ = (struct pollfd){.fd = signals, .events = POLLIN};
    for (size_t i = 0; i < count; i++) {
        bool starting = items[i].state == SUPERVISE_STARTING;

        *polls++ = (struct pollfd){.fd = items[i].daemon.pidfd, .events = POLLIN};
        *polls++ =
            (struct pollfd){.fd = starting ? items[i].daemon.ready_fd : -1, .events = POLLIN};
    }
}

enum supervise_verdict supervise(struct supervised *items, size_t count, int signals,
                                 const struct supervise_limits *limits)
{
    struct pollfd polls[1 + 2 * ITEMS_MAX];

    for (;;) {
        fill_polls(items, count, signals, polls);
        if (poll(polls, 1 + 2 * (nfds_t)count, timeout_of(items, count)) < 0)
            continue;
        if (polls[0].revents && take_signal(items, count, signals))
            return SUPERVISE_ASKED;
        for (size_t i = 0; i < count; i++)
            if (!look_after(items, i, &polls[1 + 2 * i], limits))
                return SUPERVISE_GAVE_UP;
    }
}
