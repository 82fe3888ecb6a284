#include "server/sandbox/sandbox_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/store/record.h"
#include "server/util/cleanup.h"

#define LIFECYCLE_THREADS 16
#define LIFECYCLE_SHARE 4 /* threads for one project: an end waits for what is being collected */

struct sandbox *sandbox_ref(struct sandbox *sandbox)
{
    atomic_fetch_add(&sandbox->refs, 1);
    return sandbox;
}

void sandbox_unref(struct sandbox *sandbox)
{
    if (!sandbox || atomic_fetch_sub(&sandbox->refs, 1) > 1)
        return;
    nest_unref(sandbox->nest);
    if (sandbox->pidfd.fd >= 0)
        (void)close(sandbox->pidfd.fd);
    crownest__records__sandbox_record__free_unpacked(sandbox->record, NULL);
    free(sandbox);
}

const char *sandbox_id(const struct sandbox *sandbox)
{
    return sandbox->id;
}

const char *sandbox_project(const struct sandbox *sandbox)
{
    return sandbox->project_id;
}

struct nest *sandbox_nest(struct sandbox *sandbox)
{
    return sandbox->nest;
}

bool sandbox_ran_out_of_memory(struct sandbox *sandbox)
{
    struct sandboxes *owner = sandbox->owner;
    struct sd_reply reply;

    if (sandboxd_stats(owner->sandboxd, sandbox->record->jail_id, &reply, NULL) < 0)
        return false;
    lock_scope(&owner->mutex);
    bool more = reply.oom_kills > sandbox->oom_kills;

    sandbox->oom_kills = reply.oom_kills;
    return more;
}

const char *const *sandbox_env(const struct sandbox *sandbox, size_t *ret_count)
{
    *ret_count = sandbox->record->n_env;
    return (const char *const *)sandbox->record->env;
}

struct schema_key sandbox_record_key(const char *project_id, const char *id)
{
    return schema_key("s", project_id, id, NULL);
}

int sandbox_record_read(struct sandboxes *sandboxes, const char *project_id, const char *id,
                        struct arena *arena, Crownest__Records__SandboxRecord **ret_record)
{
    struct schema_key key = sandbox_record_key(project_id, id);

    if (!id_valid("sbx_", id))
        return -ENOENT;
    return record_get(sandboxes->store, &key, &crownest__records__sandbox_record__descriptor, arena,
                      ret_record);
}

struct audit_entry sandbox_entry(const Crownest__V1__Sandbox *sandbox, const char *action,
                                 const struct audit_actor *by)
{
    return (struct audit_entry){.actor = by,
                                .action = action,
                                .resource_id = sandbox->sandbox_id,
                                .project_id = sandbox->project_id,
                                .sandbox_id = sandbox->sandbox_id};
}

struct status sandbox_not_found(int error)
{
    if (error != -ENOENT)
        return status_error(STATUS_DATA_LOSS, "RECORD_DAMAGED",
                            "the sandbox's record cannot be read");
    return status_at(status_error(STATUS_NOT_FOUND, "SANDBOX_NOT_FOUND",
                                  "no sandbox with this id in this project"),
                     "sandbox_id");
}

struct status sandboxes_get(struct sandboxes *sandboxes, const char *project_id, const char *id,
                            struct arena *arena, Crownest__V1__Sandbox **ret_sandbox)
{
    Crownest__Records__SandboxRecord *record;
    int r = sandbox_record_read(sandboxes, project_id, id, arena, &record);

    if (r < 0)
        return sandbox_not_found(r);
    *ret_sandbox = record->sandbox;
    return STATUS_OK_VALUE;
}

struct sandbox *sandbox_find(struct sandboxes *sandboxes, const char *project_id, const char *id)
{
    struct sandbox *sandbox = NULL;

    HASH_FIND_STR(sandboxes->running, id, sandbox);
    return sandbox && strcmp(sandbox->project_id, project_id) == 0 ? sandbox : NULL;
}
struct sandbox *sandboxes_find(struct sandboxes *sandboxes, const char *project_id, const char *id)
{
    lock_scope(&sandboxes->mutex);
    struct sandbox *sandbox = sandbox_find(sandboxes, project_id, id);

    return sandbox && !sandbox->ending ? sandbox_ref(sandbox) : NULL;
}

static struct status is_paused(void)
{
    return status_at(status_error(STATUS_FAILED_PRECONDITION, "SANDBOX_PAUSED",
                                  "the sandbox is paused; resume it first"),
                     "sandbox_id");
}

struct status sandboxes_running(struct sandboxes *sandboxes, const char *project_id, const char *id,
                                struct sandbox **ret_sandbox)
{
    struct sandbox *sandbox = sandboxes_find(sandboxes, project_id, id);

    if (sandbox && sandbox_is_paused(sandbox)) {
        sandbox_unref(sandbox);
        return is_paused();
    }
    if (!sandbox)
        return sandbox_not_running(sandboxes, project_id, id);
    *ret_sandbox = sandbox;
    return STATUS_OK_VALUE;
}

struct status sandbox_not_running(struct sandboxes *sandboxes, const char *project_id,
                                  const char *id)
{
    struct arena *arena = arena_new(SANDBOX_ARENA_BYTES);
    Crownest__Records__SandboxRecord *record;
    int r = sandbox_record_read(sandboxes, project_id, id, arena, &record);

    arena_free(arena);
    if (r < 0)
        return sandbox_not_found(r);
    return status_at(status_error(STATUS_FAILED_PRECONDITION, "SANDBOX_NOT_RUNNING",
                                  "the sandbox is not running; create another one"),
                     "sandbox_id");
}

struct sandbox *sandbox_claim(struct sandboxes *sandboxes, const char *project_id, const char *id)
{
    lock_scope(&sandboxes->mutex);
    struct sandbox *sandbox = sandbox_find(sandboxes, project_id, id);

    while (sandbox && sandbox->claimed) {
        (void)pthread_cond_wait(&sandboxes->changed, &sandboxes->mutex);
        sandbox = sandbox_find(sandboxes, project_id, id);
    }
    if (!sandbox)
        return NULL;
    sandbox->claimed = true;
    return sandbox_ref(sandbox);
}

void sandbox_release(struct sandbox *sandbox)
{
    struct sandboxes *owner = sandbox->owner;

    (void)pthread_mutex_lock(&owner->mutex);
    sandbox->claimed = false;
    (void)pthread_cond_broadcast(&owner->changed);
    (void)pthread_mutex_unlock(&owner->mutex);
    sandbox_unref(sandbox);
}

bool sandbox_is_paused(struct sandbox *sandbox)
{
    lock_scope(&sandbox->owner->mutex);
    return sandbox->paused;
}

struct status sandbox_hold(struct sandbox *sandbox)
{
    lock_scope(&sandbox->owner->mutex);
    if (sandbox->paused)
        return is_paused();
    sandbox->held++;
    return STATUS_OK_VALUE;
}

void sandbox_let_go(struct sandbox *sandbox)
{
    lock_scope(&sandbox->owner->mutex);
    sandbox->held--;
    (void)pthread_cond_broadcast(&sandbox->owner->changed);
}

void sandbox_count(struct sandbox *sandbox, struct meter_bytes bytes)
{
    lock_scope(&sandbox->owner->mutex);
    meter_count(sandbox->metered, bytes);
}

bool sandbox_is_detached(struct sandbox *sandbox)
{
    lock_scope(&sandbox->owner->mutex);
    return sandbox->detached;
}

/* Starting and stopping the service */

struct sandboxes *sandboxes_new(const struct sandboxes_options *options)
{
    struct sandboxes *sandboxes = calloc(1, sizeof(*sandboxes));

    if (!sandboxes)
        abort();
    sandboxes->store = options->store;
    sandboxes->quotas = options->quotas;
    sandboxes->loop = options->loop;
    sandboxes->sandboxd = options->sandboxd;
    sandboxes->meter = options->meter;
    sandboxes->hooks = options->hooks;
    sandboxes->jails = jail_pool_new(options->sandboxd, options->pool_size);
    (void)pthread_mutex_init(&sandboxes->mutex, NULL);
    (void)pthread_cond_init(&sandboxes->changed, NULL);
    sandboxes->workers = workers_new("lifecycle", LIFECYCLE_THREADS, LIFECYCLE_SHARE);
    return sandboxes;
}

/* Any sandbox, referenced. */
static struct sandbox *any_running(struct sandboxes *sandboxes)
{
    lock_scope(&sandboxes->mutex);
    return sandboxes->running ? sandbox_ref(sandboxes->running) : NULL;
}

static void end_all(struct sandboxes *sandboxes)
{
    struct status status = STATUS_OK_VALUE;
    struct sandbox *sandbox;

    while (status_is_ok(&status) && (sandbox = any_running(sandboxes)) != NULL) {
        status =
            sandbox_end(sandboxes, sandbox->project_id, sandbox->id,
                        &(struct sandbox_ending){.cause = CROWNEST__V1__END_CAUSE__END_CAUSE_KILLED,
                                                 .detail = "the service was stopped"});
        sandbox_unref(sandbox);
    }
}

void sandboxes_stop(struct sandboxes *sandboxes, bool kill)
{
    if (!sandboxes)
        return;
    (void)pthread_mutex_lock(&sandboxes->mutex);
    sandboxes->stopping = true;
    (void)pthread_mutex_unlock(&sandboxes->mutex);
    if (kill)
        end_all(sandboxes);
    jail_pool_free(sandboxes->jails);
    sandboxes->jails = NULL;
    workers_free(sandboxes->workers);
    sandboxes->workers = NULL;
}

/* One that lives on: what the loop held of it went with the loop. */
static void leave(struct sandbox *sandbox)
{
    HASH_DEL(sandbox->owner->running, sandbox);
    if (loop_disarm(sandbox->owner->loop, &sandbox->ttl))
        sandbox_unref(sandbox);
    if (loop_disarm(sandbox->owner->loop, &sandbox->lease))
        sandbox_unref(sandbox);
    if (sandbox->connected) {
        nest_abandon(sandbox->nest);
        sandbox_unref(sandbox);
    }
    if (sandbox->watched)
        sandbox_unref(sandbox);
    sandbox_unref(sandbox); /* the table's */
}

void sandboxes_free(struct sandboxes *sandboxes)
{
    if (!sandboxes)
        return;
    while (sandboxes->running)
        leave(sandboxes->running);
    (void)pthread_cond_destroy(&sandboxes->changed);
    (void)pthread_mutex_destroy(&sandboxes->mutex);
    free(sandboxes);
}
