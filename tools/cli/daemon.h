/*
 * One daemon that `crownest up` starts and stops: a child process in a process group of its own, so
 * that a terminal's Ctrl-C reaches only us, held by a pidfd.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "server/util/err.h"

/* The descriptor on which a daemon says that it serves: `--ready-fd 3`. */
#define DAEMON_READY_FD 3
#define DAEMON_ARGS_MAX 24

struct daemon_spec {
    const char *name;                      /* "sandboxd" */
    const char *path;                      /* its binary */
    const char *args[DAEMON_ARGS_MAX + 1]; /* argv, NULL-terminated; must name DAEMON_READY_FD */
    uid_t uid;                             /* 0: stays root */
    gid_t gid;
    int log_fd; /* its stdout and stderr; -1: ours */
};

struct daemon {
    const char *name;
    pid_t pid; /* 0: not running */
    int pidfd;
    int ready_fd; /* -1 when it was awaited */
};

#define DAEMON_NONE(its_name) ((struct daemon){.name = (its_name), .pidfd = -1, .ready_fd = -1})

/*
 * Starts it. The binary is opened with our rights, so it may lie where the daemon's user could not
 * find it. It gets no descriptor but the standard ones and DAEMON_READY_FD, PATH as its whole
 * environment, and / as its directory. It is killed when the thread that called this ends, however
 * that happens: nothing of ours runs without somebody who looks after it. 0, or -errno.
 */
int daemon_start(const struct daemon_spec *spec, struct daemon *ret_daemon, struct err *ret_err);

/*
 * Waits until it serves. -ECHILD when it ended, -ETIMEDOUT, or -EINTR when `signals` (a signalfd)
 * became readable, which is left unread.
 */
int daemon_await_ready(struct daemon *daemon, int signals, int timeout_ms, struct err *ret_err);

/* As daemon_await_ready, when ready_fd is readable. */
int daemon_take_ready(struct daemon *daemon, struct err *ret_err);

/*
 * Asks it to end and waits; kills it after the time is over. Returns true when it ended by itself
 * with exit code 0. Does nothing, and returns true, when it is not running.
 */
bool daemon_stop(struct daemon *daemon, int timeout_ms);

/* Reaps it when its pidfd is readable. Writes "exit code 1" or "signal 9" to ret_how. */
bool daemon_reap(struct daemon *daemon, char *ret_how, size_t size);
