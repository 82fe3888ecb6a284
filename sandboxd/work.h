/*
 * What may take long or wait for a tenant runs in a short-lived child: building a jail, removing
 * one. The child answers with one message on a socket that becomes readable when it has ended.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "sandboxd/cgroup.h"
#include "sandboxd/err.h"
#include "sandboxd/jail.h"

struct work {
    pid_t pid;  /* of the child */
    int socket; /* where its result comes */
};

struct work_result {
    struct sd_err err;         /* code 0 = done */
    pid_t pid;                 /* build: of nest-init */
    struct cgroup_usage usage; /* teardown */
};

/* Build: the result comes with the descriptors of struct jail. */
int work_build(const struct jail_spec *spec, struct work *ret_work, struct sd_err *err);

/* Kills and removes all of a sandbox; pidfd of its init or -1. */
int work_teardown(const char *id, int pidfd, struct work *ret_work, struct sd_err *err);

/*
 * Takes the result without blocking, closes the socket. The descriptors of a build are in ret_jail,
 * the caller's. A child that ended without a word is an error.
 */
void work_finish(struct work *work, struct work_result *ret_result, struct jail *ret_jail);
