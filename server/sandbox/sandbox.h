/*
 * The life of sandboxes: created, ended by a client, by their TTL or by themselves, and left as
 * tombstones. The store holds what is true of each; a struct sandbox exists only for those that
 * run.
 *
 * Functions may be called from any thread but the loop's, and block until what they do is on disk.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "private/records.pb-c.h"
#include "server/audit/audit.h"
#include "server/meter/meter.h"
#include "server/plan/quota.h"
#include "server/sandbox/jail_pool.h"
#include "server/sandbox/loop.h"
#include "server/sandbox/nest.h"
#include "server/sandbox/sandboxd.h"
#include "server/store/store.h"
#include "server/util/arena.h"
#include "server/util/id.h"
#include "server/util/status.h"
#include "server/util/workers.h"

struct sandboxes;
struct sandbox;

/* Those who work inside sandboxes hear of these; called on the loop's thread. */
struct sandbox_hooks {
    /* A command has ended and nothing of it is left. */
    void (*command_exited)(void *arg, struct sandbox *sandbox, const struct nest_reply *reply);
    /* Every process of the sandbox is dead. */
    void (*dead)(void *arg, struct sandbox *sandbox);
    /* Blocks until what was running in a dead sandbox is recorded. Not on the loop's thread. */
    void (*settle)(void *arg, struct sandbox *sandbox);
    /* A sandbox that was adopted while it was paused runs again: reaches for its commands. */
    void (*reattach)(void *arg, struct sandbox *sandbox);
    void *arg;
};

struct sandboxes_options {
    struct store *store;
    struct quotas *quotas; /* may be NULL */
    struct loop *loop;
    struct sandboxd *sandboxd;
    struct meter *meter;
    unsigned pool_size; /* jails kept ready; see jail_pool.h */
    struct sandbox_hooks hooks;
};

/* Adds to the batch that makes a change, so that both are on disk or neither. */
struct sandbox_commit {
    const struct audit_actor *by; /* who wants it */
    void (*add)(void *arg, struct store_batch *batch, const Crownest__V1__Sandbox *sandbox);
    void *arg;
};

/*
 * Plans, or what projects name, have changed, or the service has started: what plans include bounds
 * what lives.
 */
void sandboxes_heed_plans(struct sandboxes *sandboxes);

struct sandboxes *sandboxes_new(const struct sandboxes_options *options);
/*
 * Ends what still runs, with END_CAUSE_KILLED, or leaves it for the next process to adopt. The loop
 * may still call afterwards, and commands may still be finishing: stop the loop and free the
 * commands before the sandboxes.
 */
void sandboxes_stop(struct sandboxes *sandboxes, bool kill);
void sandboxes_free(struct sandboxes *sandboxes);

/*
 * Brings records and sandboxd's inventory together when the service starts: a sandbox of an earlier
 * process goes on, or ends if its TTL has passed; one that is gone has its record say so; a jail
 * that no record claims is removed. Adopted sandboxes tell of ended commands after
 * sandboxes_greet.
 */
int sandboxes_reconcile(struct sandboxes *sandboxes, struct err *err);
void sandboxes_greet(struct sandboxes *sandboxes);

/*
 * record: the sandbox as it was asked for (project, template and digest, resources, labels, env,
 * meter_part), in the arena; ids, state and times are filled in. On success it is RUNNING.
 * RESOURCE_EXHAUSTED SANDBOX_LIMIT, or those of quota_take and meter_admit.
 */
struct status sandboxes_create(struct sandboxes *sandboxes, const uint8_t template_hash[32],
                               uint64_t ttl_ms, uint64_t lease_ms, struct arena *arena,
                               const struct sandbox_commit *commit,
                               Crownest__Records__SandboxRecord *record);

/*
 * A running sandbox of the project, referenced; NOT_FOUND, or FAILED_PRECONDITION
 * SANDBOX_NOT_RUNNING or SANDBOX_PAUSED otherwise.
 */
struct status sandboxes_running(struct sandboxes *sandboxes, const char *project_id,
                                const char *sandbox_id, struct sandbox **ret_sandbox);

/* The sandbox as it stands in the store; NOT_FOUND. */
struct status sandboxes_get(struct sandboxes *sandboxes, const char *project_id,
                            const char *sandbox_id, struct arena *arena,
                            Crownest__V1__Sandbox **ret_sandbox);

/* Ends it, or finds that it has ended; ret_sandbox is the tombstone. */
struct status sandboxes_kill(struct sandboxes *sandboxes, const char *project_id,
                             const char *sandbox_id, const struct audit_actor *by,
                             struct arena *arena, Crownest__V1__Sandbox **ret_sandbox);

/* One that runs or is paused, referenced, or NULL. */
struct sandbox *sandboxes_find(struct sandboxes *sandboxes, const char *project_id,
                               const char *sandbox_id);

/* What to change of a sandbox. */
struct sandbox_update {
    uint64_t ttl_ms; /* from now; 0: as it is */
    bool replace_labels;
    Crownest__V1__Sandbox__LabelsEntry **labels;
    size_t n_labels;
};

/* Each of these returns the sandbox as it stands then. */
struct status sandboxes_update(struct sandboxes *sandboxes, const char *project_id,
                               const char *sandbox_id, const struct sandbox_update *update,
                               const struct sandbox_commit *commit, struct arena *arena,
                               Crownest__V1__Sandbox **ret_sandbox);
struct status sandboxes_pause(struct sandboxes *sandboxes, const char *project_id,
                              const char *sandbox_id, const struct audit_actor *by,
                              struct arena *arena, Crownest__V1__Sandbox **ret_sandbox);
struct status sandboxes_resume(struct sandboxes *sandboxes, const char *project_id,
                               const char *sandbox_id, const struct audit_actor *by,
                               struct arena *arena, Crownest__V1__Sandbox **ret_sandbox);

/*
 * A bucket that pays for it is empty: has it paused, or ended with END_CAUSE_BUDGET, and does not
 * wait for that. Nothing happens to one that ends already.
 */
void sandboxes_out_of_budget(struct sandboxes *sandboxes, const char *project_id,
                             const char *sandbox_id, const char *bucket_name, bool pause);

/* Renews the lease; ret_expire_ms is on the wall clock. FAILED_PRECONDITION NO_LEASE. */
struct status sandboxes_heartbeat(struct sandboxes *sandboxes, const char *project_id,
                                  const char *sandbox_id, uint64_t *ret_expire_ms);

/* What one has used and uses, and until when it lives; times on the wall clock, 0: no such bound.
 */
struct sandbox_stats {
    struct sd_reply usage;
    uint64_t expire_ms;
    uint64_t lease_expire_ms;
    const char *parent_id; /* empty: none; of the sandbox, valid during the call's arena */
};

struct status sandboxes_stats(struct sandboxes *sandboxes, const char *project_id,
                              const char *sandbox_id, struct arena *arena,
                              struct sandbox_stats *ret_stats);

struct sandbox *sandbox_ref(struct sandbox *sandbox);
void sandbox_unref(struct sandbox *sandbox);
const char *sandbox_id(const struct sandbox *sandbox);
const char *sandbox_project(const struct sandbox *sandbox);
struct nest *sandbox_nest(struct sandbox *sandbox);
bool sandbox_is_paused(struct sandbox *sandbox);
/* Bytes of it that were recorded, for its receipt. Nothing when it has ended. */
void sandbox_count(struct sandbox *sandbox, struct meter_bytes bytes);
/*
 * Keeps it from being paused until sandbox_let_go: what is asked of it meanwhile is answered, and
 * not found by it when it is resumed. FAILED_PRECONDITION SANDBOX_PAUSED when it is.
 */
struct status sandbox_hold(struct sandbox *sandbox);
void sandbox_let_go(struct sandbox *sandbox);
/* Whether nest-init can be asked for the pipes of its commands now. */
bool sandbox_is_detached(struct sandbox *sandbox);
/*
 * Whether the kernel has killed a process of it for want of memory since this was last asked. The
 * count is the sandbox's, not a command's: ask after each command that did not succeed, or a later
 * one is blamed.
 */
bool sandbox_ran_out_of_memory(struct sandbox *sandbox);
/* NAME=value strings that every command gets. */
const char *const *sandbox_env(const struct sandbox *sandbox, size_t *ret_count);
