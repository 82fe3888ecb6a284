/*
 * Control groups of sandboxes, in both layouts: v2 unified, and v1 with an (almost) empty v2 tree
 * beside it. Everything lies below a group "crownest" in each hierarchy:
 *
 *   crownest/<id>         limits; every process of the sandbox is in or below it, everywhere; in
 *                         the v2 tree the root of the cgroup namespace
 *   crownest/<id>/c-<n>   v2 tree only: one command each, made by nest-init, to which the
 *                         directory crownest/<id> of this tree is delegated; on a v2 host with the
 *                         memory controller, so that a command's peak is known
 *   crownest/<id>/init    v2 hosts only, where a group with such children has no process of its
 *                         own: nest-init and those who work for it
 *
 * Kill, freeze and the question whether anything lives use the v2 tree in both layouts. Not thread
 * safe; the functions may be called in forked children.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "sandboxd/err.h"
#include "sandboxd/wire.h"

struct cgroup_usage {
    uint64_t cpu_usec;
    uint64_t memory_peak_bytes; /* 0 when the host does not say */
    uint64_t memory_bytes;      /* now */
    uint32_t processes;         /* now, threads counted */
    uint32_t oom_kills;
};

/* What differs between the layouts. */
struct cgroup_layout {
    const char *name;
    /* Makes "crownest" and lets it have the controllers. */
    int (*setup)(struct sd_err *err);
    /* Makes crownest/<id> with its limits; not in the v2 tree of a v1 host. */
    int (*create)(const char *id, const struct sd_limits *limits, struct sd_err *err);
    /* Moves the calling process, except in the v2 tree. */
    int (*enter)(const char *id, struct sd_err *err);
    /* Moves init and the calling process out of crownest/<id>, if that must have none. */
    int (*settle)(const char *id, pid_t init, struct sd_err *err);
    int (*usage)(const char *id, struct cgroup_usage *ret_usage);
    /* As the functions of these names below. */
    int (*get_cpu_used)(const char *id, uint64_t *ret_usec);
    int (*get_cpu_quota)(const char *id, uint32_t *ret_millis);
    int (*yield)(const char *id, const char *cpus);
    int (*stop_yielding)(const char *id, uint32_t quota_millis);
    /* Removes crownest/<id>, which has no process and no child; not in the v2 tree. */
    int (*remove)(const char *id);
};

extern const struct cgroup_layout cgroup_v1;
extern const struct cgroup_layout cgroup_v2;

/* Finds the layout and makes "crownest". Call once, before all else. */
int cgroup_init(struct sd_err *err);

/* For a person; NULL when none was found. */
const char *cgroup_layout_name(void);

/* Mount point of the v2 tree; for the layouts. */
const char *cgroup_tree(void);

/* Makes the sandbox's groups everywhere, and hands the v2 directory over to owner. */
int cgroup_create(const char *id, const struct sd_limits *limits, uid_t owner, gid_t group,
                  struct sd_err *err);

/* Moves the calling process into them. */
int cgroup_enter(const char *id, struct sd_err *err);

/* A descriptor of crownest/<id> in the v2 tree, for nest-init: it leads nowhere else. */
int cgroup_open(const char *id, int *ret_fd, struct sd_err *err);

/*
 * The caller has started the sandbox's first process, which runs nothing yet, and has no more to
 * start. (Started in a child group, it would have that as the root of its cgroup namespace, and
 * could start no command outside of it.)
 */
int cgroup_settle(const char *id, pid_t init, struct sd_err *err);

int cgroup_get_usage(const char *id, struct cgroup_usage *ret_usage);

/* CPU time so far; of all sandboxes together with id "". */
int cgroup_get_cpu_used(const char *id, uint64_t *ret_usec);
/* In thousandths of a CPU. */
int cgroup_get_cpu_quota(const char *id, uint32_t *ret_millis);
/* From now on it has the CPU when nobody else wants it, and only those of the list ("0,2"), where
 * the host has a controller for that. */
int cgroup_yield(const char *id, const char *cpus);
/* As it was made: every CPU, with a share as large as its quota. */
int cgroup_stop_yielding(const char *id, uint32_t quota_millis);

int cgroup_kill(const char *id);
int cgroup_set_frozen(const char *id, bool frozen);
bool cgroup_is_frozen(const char *id);
/* Whether the process is in or below crownest/<id> of the v2 tree. */
bool cgroup_has(const char *id, pid_t pid);

/* Waits until no process is left, at most timeout_ms. 0, -ETIMEDOUT or -errno. */
int cgroup_wait_empty(const char *id, int timeout_ms);

/* Removes the groups everywhere. A missing one is none left, so 0. */
int cgroup_remove(const char *id);
