/*
 * The system calls that commands may make: an allow-list for the native architecture. All else is
 * ENOSYS, as on an older kernel; another architecture's calls kill the process. Compiled once, and
 * handed to each nest-init, which loads it into each command's process last before exec.
 */
#pragma once

#include "sandboxd/err.h"

/* Confines sandboxd to what it, nest-init and commands use between them; loaded at once. */
int seccomp_confine(struct sd_err *err);

/* A sealed memfd with the filter as an array of struct sock_filter. */
int seccomp_compile(int *ret_fd, struct sd_err *err);
