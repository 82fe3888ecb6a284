/*
 * What the files of sandboxes share: sandbox.c, sandbox_create.c, sandbox_change.c, sandbox_end.c,
 * sandbox_adopt.c, sandbox_budget.c.
 */
#pragma once

#include "server/sandbox/sandbox.h"

#include <uthash.h>

#define SANDBOX_ARENA_BYTES (1U << 20)

struct sandbox {
    atomic_uint refs;
    struct sandboxes *owner;
    char id[ID_SIZE];
    char project_id[ID_SIZE];
    struct nest *nest;
    Crownest__Records__SandboxRecord *record; /* as it was when it began to run */
    struct loop_source pidfd;
    struct loop_timer ttl;
    struct loop_timer lease;
    struct job end_job;
    struct job pause_job; /* of a bucket that is empty */
    uint64_t lease_ms;    /* 0: none */
    /* Of whoever has claimed it to end it. */
    bool jail_gone;
    struct sd_reply usage; /* the jail's last word */
    /* Under the owner's mutex. */
    Crownest__V1__EndCause end_cause; /* of end_job; of an end that failed; or unspecified */
    bool claimed;                     /* somebody ends it, or changes its record */
    bool ending;
    bool end_job_queued;
    bool pause_job_queued;
    char end_detail[96]; /* of end_job */
    bool paused;
    bool detached;            /* adopted while it was paused: its commands wait for their pipes */
    unsigned held;            /* by those who start a command: it is not paused meanwhile */
    struct metered *metered;  /* NULL: not, or no more */
    uint64_t gone_us;         /* clock_boot_us when it was dead; 0: it is not, as far as is known */
    bool unsure;              /* sandboxd did not say whether it stands still; of who claimed it */
    uint32_t oom_kills;       /* that were heard of */
    uint64_t expire_ms;       /* wall clock */
    uint64_t lease_expire_ms; /* wall clock */
    /* Of the loop's thread: which of its references it still has. */
    bool watched;
    bool connected;
    UT_hash_handle hh;
};

struct sandboxes {
    struct store *store;
    struct quotas *quotas;
    struct loop *loop;
    struct sandboxd *sandboxd;
    struct meter *meter;
    struct jail_pool *jails;
    struct sandbox_hooks hooks;
    struct workers *workers;
    pthread_mutex_t mutex; /* of what follows */
    pthread_cond_t changed;
    bool stopping;
    struct sandbox *running; /* by id */
    unsigned count;          /* running and being created */
};

/* sandbox.c */

struct schema_key sandbox_record_key(const char *project_id, const char *id);
int sandbox_record_read(struct sandboxes *sandboxes, const char *project_id, const char *id,
                        struct arena *arena, Crownest__Records__SandboxRecord **ret_record);
/* An entry about it, to be completed. */
struct audit_entry sandbox_entry(const Crownest__V1__Sandbox *sandbox, const char *action,
                                 const struct audit_actor *by);
/* What a record that could not be read is to a client. */
struct status sandbox_not_found(int error);
/* NOT_FOUND or FAILED_PRECONDITION SANDBOX_NOT_RUNNING, for one that was not found running. */
struct status sandbox_not_running(struct sandboxes *sandboxes, const char *project_id,
                                  const char *id);
/* Called with the mutex held; NULL for one of another project, too. */
struct sandbox *sandbox_find(struct sandboxes *sandboxes, const char *project_id, const char *id);
/*
 * Waits until nobody else changes it, and claims it, referenced, until sandbox_release. Returns
 * NULL when it does not run, or no more.
 */
struct sandbox *sandbox_claim(struct sandboxes *sandboxes, const char *project_id, const char *id);
void sandbox_release(struct sandbox *sandbox);

/* sandbox_create.c */

/*
 * Takes the jail's descriptors. The record is copied. References: the table's, the pidfd's, the
 * control socket's, and the timer's that it comes with.
 */
struct sandbox *sandbox_new(struct sandboxes *owner, const int fds[SD_FD_COUNT],
                            const Crownest__Records__SandboxRecord *record);
/* Puts it among those that run, and begins to wait for its end; due_ms in clock_monotonic_ms. */
void sandbox_start(struct sandbox *sandbox, uint64_t due_ms);
/* From now on it ends unless the lease is renewed within ms. */
void sandbox_lease(struct sandbox *sandbox, uint64_t ms);

/* What it counts for in its project. */
struct quota_amounts sandbox_amounts(const Crownest__V1__Sandbox *sandbox);

/* sandbox_end.c */

/* Why one ends, and who wants it; NULL: the service itself. */
struct sandbox_ending {
    Crownest__V1__EndCause cause;
    const char *detail;
    const struct audit_actor *by;
    struct metered *metered; /* NULL: not by this process */
};

/* Writes the tombstone. */
int sandbox_write_end(struct sandboxes *sandboxes, Crownest__Records__SandboxRecord *record,
                      struct arena *arena, const struct sandbox_ending *ending);
/* Ends the sandbox unless it has ended; waits for whoever else changes it. */
struct status sandbox_end(struct sandboxes *sandboxes, const char *project_id, const char *id,
                          const struct sandbox_ending *ending);
/* Has a worker end it; takes a reference of the caller's. From any thread. */
void sandbox_queue_end(struct sandbox *sandbox, Crownest__V1__EndCause cause);
/* For sandbox_new: what the end of a timer, of nest-init and of the socket do, and the job. */
void sandbox_ttl_fire(struct loop_timer *timer);
void sandbox_lease_fire(struct loop_timer *timer);
void sandbox_pidfd_ready(struct loop_source *source, uint32_t events);
void sandbox_end_run(struct job *job);

/* sandbox_budget.c */

void sandbox_budget_run(struct job *job);
