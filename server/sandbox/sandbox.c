#include "server/sandbox/sandbox.h"
#include "server/util/container_of.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <uthash.h>

#include "server/store/record.h"
#include "server/util/cleanup.h"
#include "server/util/clock.h"
#include "server/util/limits.h"
#include "server/util/prototime.h"

#define LIFECYCLE_THREADS 16
#define LIFECYCLE_SHARE 4 /* threads for one project: an end waits for what is being collected */
#define RETRY_MS 1000     /* after an end that failed */
#define ARENA_BYTES (1U << 20)

struct sandbox {
    atomic_uint refs;
    struct sandboxes *owner;
    char id[ID_SIZE];
    char project_id[ID_SIZE];
    struct nest *nest;
    Crownest__Records__SandboxRecord *record; /* as it was when it began to run */
    struct loop_source pidfd;
    struct loop_timer ttl;
    struct job end_job;
    /* Under the owner's mutex. */
    Crownest__V1__EndCause end_cause; /* of end_job; of an end that failed; or unspecified */
    bool ending;
    bool end_job_queued;
    uint32_t oom_kills; /* that were heard of */
    UT_hash_handle hh;
};

struct sandboxes {
    struct store *store;
    struct loop *loop;
    struct sandboxd *sandboxd;
    struct jail_pool *jails;
    struct sandbox_hooks hooks;
    struct workers *workers;
    pthread_mutex_t mutex; /* of what follows */
    pthread_cond_t ended;
    bool stopping;
    struct sandbox *running; /* by id */
    unsigned count;          /* running and being created */
};

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

static struct schema_key record_key(const char *project_id, const char *id)
{
    return schema_key("s", project_id, id, NULL);
}

static int read_record(struct sandboxes *sandboxes, const char *project_id, const char *id,
                       struct arena *arena, Crownest__Records__SandboxRecord **ret_record)
{
    struct schema_key key = record_key(project_id, id);

    if (!id_valid("sbx_", id))
        return -ENOENT;
    return record_get(sandboxes->store, &key, &crownest__records__sandbox_record__descriptor, arena,
                      ret_record);
}

static struct status not_found(int error)
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
    int r = read_record(sandboxes, project_id, id, arena, &record);

    if (r < 0)
        return not_found(r);
    *ret_sandbox = record->sandbox;
    return STATUS_OK_VALUE;
}

/* Called with the mutex held. */
static struct sandbox *find_running(struct sandboxes *sandboxes, const char *project_id,
                                    const char *id)
{
    struct sandbox *sandbox = NULL;

    HASH_FIND_STR(sandboxes->running, id, sandbox);
    return sandbox && strcmp(sandbox->project_id, project_id) == 0 ? sandbox : NULL;
}

struct status sandboxes_running(struct sandboxes *sandboxes, const char *project_id, const char *id,
                                struct sandbox **ret_sandbox)
{
    struct arena *arena;
    Crownest__Records__SandboxRecord *record;

    (void)pthread_mutex_lock(&sandboxes->mutex);
    struct sandbox *sandbox = find_running(sandboxes, project_id, id);
    bool running = sandbox && !sandbox->ending;

    if (running)
        *ret_sandbox = sandbox_ref(sandbox);
    (void)pthread_mutex_unlock(&sandboxes->mutex);
    if (running)
        return STATUS_OK_VALUE;
    arena = arena_new(ARENA_BYTES);
    int r = read_record(sandboxes, project_id, id, arena, &record);

    arena_free(arena);
    if (r < 0)
        return not_found(r);
    return status_at(status_error(STATUS_FAILED_PRECONDITION, "SANDBOX_NOT_RUNNING",
                                  "the sandbox is not running; create another one"),
                     "sandbox_id");
}

/* Ending */

/* Writes the tombstone. */
static int write_end(struct sandboxes *sandboxes, Crownest__Records__SandboxRecord *record,
                     struct arena *arena, Crownest__V1__EndCause cause, const char *detail)
{
    Crownest__V1__Sandbox *sandbox = record->sandbox;
    struct schema_key key = record_key(sandbox->project_id, sandbox->sandbox_id);
    struct schema_key live = schema_key("live", sandbox->sandbox_id, NULL, NULL);
    struct store_batch *batch = store_batch_new();
    bool intended = cause == CROWNEST__V1__END_CAUSE__END_CAUSE_KILLED ||
                    cause == CROWNEST__V1__END_CAUSE__END_CAUSE_TTL;

    sandbox->state = intended ? CROWNEST__V1__SANDBOX_STATE__SANDBOX_STATE_KILLED
                              : CROWNEST__V1__SANDBOX_STATE__SANDBOX_STATE_FAILED;
    sandbox->end_cause = cause;
    sandbox->end_detail = arena_strdup(arena, detail);
    sandbox->end_time = prototime_from_us(arena, clock_wall_us());
    record_put(batch, &key, &record->base);
    record_delete(batch, &live);
    return store_commit(sandboxes->store, batch, STORE_SYNCED);
}

/* What has to end ends, also when sandboxd or the disk could not do it the first time. */
static void try_again_later(struct sandbox *sandbox, Crownest__V1__EndCause cause)
{
    struct sandboxes *owner = sandbox->owner;

    (void)pthread_mutex_lock(&owner->mutex);
    bool stopping = owner->stopping;

    sandbox->end_cause = cause;
    sandbox->end_job_queued = false;
    (void)pthread_mutex_unlock(&owner->mutex);
    if (stopping)
        return;
    (void)sandbox_ref(sandbox);
    loop_arm(owner->loop, &sandbox->ttl, clock_monotonic_ms() + RETRY_MS);
}

/* Makes the running sandbox go, whose `ending` the caller has set, and records the end. */
static struct status end_running(struct sandboxes *sandboxes, struct sandbox *sandbox,
                                 Crownest__V1__EndCause cause, const char *detail)
{
    struct sd_reply reply;
    struct err err = {0};
    struct arena *arena = arena_new(ARENA_BYTES);
    Crownest__Records__SandboxRecord *record;

    if (loop_disarm(sandboxes->loop, &sandbox->ttl))
        sandbox_unref(sandbox);
    int r = sandboxd_kill(sandboxes->sandboxd, sandbox->record->jail_id, &reply, &err);

    if (r == 0) {
        sandboxes->hooks.settle(sandboxes->hooks.arg, sandbox);
        r = read_record(sandboxes, sandbox->project_id, sandbox->id, arena, &record);
    }
    if (r == 0) {
        record->sandbox->cpu_usec = reply.cpu_usec;
        r = write_end(sandboxes, record, arena, cause, detail);
    }
    arena_free(arena);
    if (r < 0)
        try_again_later(sandbox, cause);
    (void)pthread_mutex_lock(&sandboxes->mutex);
    if (r == 0) {
        HASH_DEL(sandboxes->running, sandbox);
        sandboxes->count--;
    } else {
        sandbox->ending = false; /* and the next kill need not wait for that */
    }
    (void)pthread_cond_broadcast(&sandboxes->ended);
    (void)pthread_mutex_unlock(&sandboxes->mutex);
    if (r == 0)
        sandbox_unref(sandbox);
    if (r < 0)
        return status_unavailable("KILL_FAILED", "the sandbox could not be killed: %s",
                                  err.message);
    return STATUS_OK_VALUE;
}

/* Ends the sandbox unless somebody else does; then waits for them. */
static struct status end_sandbox(struct sandboxes *sandboxes, const char *project_id,
                                 const char *id, Crownest__V1__EndCause cause, const char *detail)
{
    (void)pthread_mutex_lock(&sandboxes->mutex);
    struct sandbox *sandbox = find_running(sandboxes, project_id, id);

    while (sandbox && sandbox->ending) {
        (void)pthread_cond_wait(&sandboxes->ended, &sandboxes->mutex);
        sandbox = find_running(sandboxes, project_id, id);
    }
    if (sandbox) {
        sandbox->ending = true;
        (void)sandbox_ref(sandbox);
    }
    (void)pthread_mutex_unlock(&sandboxes->mutex);
    if (!sandbox)
        return STATUS_OK_VALUE;
    struct status status = end_running(sandboxes, sandbox, cause, detail);

    sandbox_unref(sandbox);
    return status;
}

struct status sandboxes_kill(struct sandboxes *sandboxes, const char *project_id, const char *id,
                             struct arena *arena, Crownest__V1__Sandbox **ret_sandbox)
{
    struct status status =
        end_sandbox(sandboxes, project_id, id, CROWNEST__V1__END_CAUSE__END_CAUSE_KILLED, "");

    if (status_is_ok(&status))
        status = sandboxes_get(sandboxes, project_id, id, arena, ret_sandbox);
    /* It was not among those that run, and has no tombstone either: it does not run yet. */
    if (status_is_ok(&status) && !(*ret_sandbox)->end_time)
        status = status_unavailable("KILL_FAILED", "the sandbox is still being created; try again");
    return status;
}

static void end_job_run(struct job *job)
{
    struct sandbox *sandbox = container_of(job, struct sandbox, end_job);
    bool died = sandbox->end_cause == CROWNEST__V1__END_CAUSE__END_CAUSE_INIT_DIED;

    (void)end_sandbox(sandbox->owner, sandbox->project_id, sandbox->id, sandbox->end_cause,
                      died ? "nest-init ended without having been asked to" : "");
    sandbox_unref(sandbox);
}

/* From the loop's thread; hands the reference to the job. */
static void queue_end(struct sandbox *sandbox, Crownest__V1__EndCause cause)
{
    struct sandboxes *owner = sandbox->owner;

    (void)pthread_mutex_lock(&owner->mutex);
    bool queue = !sandbox->end_job_queued && !owner->stopping;

    if (queue) {
        sandbox->end_job_queued = true;
        if (!sandbox->end_cause)
            sandbox->end_cause = cause;
    }
    (void)pthread_mutex_unlock(&owner->mutex);
    if (queue)
        workers_submit(owner->workers, &sandbox->end_job);
    else
        sandbox_unref(sandbox);
}

static void ttl_fire(struct loop_timer *timer)
{
    queue_end(container_of(timer, struct sandbox, ttl), CROWNEST__V1__END_CAUSE__END_CAUSE_TTL);
}

static void pidfd_ready(struct loop_source *source, uint32_t events)
{
    struct sandbox *sandbox = container_of(source, struct sandbox, pidfd);
    struct sandboxes *owner = sandbox->owner;

    (void)events;
    loop_remove(owner->loop, source);
    owner->hooks.dead(owner->hooks.arg, sandbox);
    (void)pthread_mutex_lock(&owner->mutex);
    bool ending = sandbox->ending;

    (void)pthread_mutex_unlock(&owner->mutex);
    if (ending)
        sandbox_unref(sandbox);
    else
        queue_end(sandbox, CROWNEST__V1__END_CAUSE__END_CAUSE_INIT_DIED);
}

static void nest_exited(void *arg, const struct nest_reply *reply)
{
    struct sandbox *sandbox = arg;

    sandbox->owner->hooks.command_exited(sandbox->owner->hooks.arg, sandbox, reply);
}

/* The pidfd tells when everything is dead; the socket's end only that nest-init closed it. */
static void nest_closed(void *arg)
{
    sandbox_unref(arg);
}

/* Creating */

static struct status admit(struct sandboxes *sandboxes)
{
    lock_scope(&sandboxes->mutex);
    if (sandboxes->count >= LIMIT_SANDBOXES)
        return status_error(STATUS_RESOURCE_EXHAUSTED, "SANDBOX_LIMIT",
                            "this host runs its maximum of %d sandboxes; kill one first",
                            LIMIT_SANDBOXES);
    sandboxes->count++;
    return STATUS_OK_VALUE;
}

static void unadmit(struct sandboxes *sandboxes)
{
    lock_scope(&sandboxes->mutex);
    sandboxes->count--;
}

/* The record on its own, for as long as the sandbox runs. */
static Crownest__Records__SandboxRecord *record_copy(const Crownest__Records__SandboxRecord *record)
{
    size_t size = crownest__records__sandbox_record__get_packed_size(record);
    cleanup_free uint8_t *packed = malloc(size + 1);

    if (!packed)
        abort();
    (void)crownest__records__sandbox_record__pack(record, packed);
    Crownest__Records__SandboxRecord *copy =
        crownest__records__sandbox_record__unpack(NULL, size, packed);

    if (!copy)
        abort();
    return copy;
}

static struct sandbox *sandbox_new(struct sandboxes *owner, const struct jail *jail,
                                   const Crownest__Records__SandboxRecord *record)
{
    struct sandbox *sandbox = calloc(1, sizeof(*sandbox));

    if (!sandbox)
        abort();
    /* One reference each for the table, the pidfd, the control socket and the TTL. */
    atomic_init(&sandbox->refs, 4);
    sandbox->owner = owner;
    sandbox->record = record_copy(record);
    (void)snprintf(sandbox->id, sizeof(sandbox->id), "%s", record->sandbox->sandbox_id);
    (void)snprintf(sandbox->project_id, sizeof(sandbox->project_id), "%s",
                   record->sandbox->project_id);
    sandbox->pidfd = (struct loop_source){.fd = jail->fds[SD_FD_PIDFD], .ready = pidfd_ready};
    sandbox->ttl.fire = ttl_fire;
    sandbox->end_job.run = end_job_run;
    sandbox->end_job.tenant = sandbox->project_id;
    struct nest_hooks hooks = {.exited = nest_exited, .closed = nest_closed, .arg = sandbox};

    nest_new(owner->loop, jail->fds[SD_FD_CONTROL], &hooks, &sandbox->nest);
    return sandbox;
}

static void sandbox_start(struct sandboxes *sandboxes, struct sandbox *sandbox, uint64_t due_ms)
{
    (void)pthread_mutex_lock(&sandboxes->mutex);
    HASH_ADD_STR(sandboxes->running, id, sandbox);
    (void)pthread_mutex_unlock(&sandboxes->mutex);
    loop_arm(sandboxes->loop, &sandbox->ttl, due_ms);
    if (loop_add(sandboxes->loop, &sandbox->pidfd, EPOLLIN) < 0)
        abort();
}

static void fill_record(Crownest__Records__SandboxRecord *record, uint64_t ttl_ms,
                        struct arena *arena)
{
    Crownest__V1__Sandbox *sandbox = record->sandbox;
    char id[ID_SIZE];
    uint64_t now = clock_wall_us();

    id_make("sbx_", id);
    sandbox->sandbox_id = arena_strdup(arena, id);
    sandbox->state = CROWNEST__V1__SANDBOX_STATE__SANDBOX_STATE_CREATING;
    sandbox->create_time = prototime_from_us(arena, now);
    sandbox->expire_time = prototime_from_us(arena, now + ttl_ms * 1000);
}

static int write_living(struct sandboxes *sandboxes, const Crownest__Records__SandboxRecord *record,
                        const struct sandbox_commit *commit)
{
    const Crownest__V1__Sandbox *sandbox = record->sandbox;
    struct schema_key key = record_key(sandbox->project_id, sandbox->sandbox_id);
    struct schema_key live = schema_key("live", sandbox->sandbox_id, NULL, NULL);
    struct store_batch *batch = store_batch_new();

    record_put(batch, &key, &record->base);
    record_put_string(batch, &live, sandbox->project_id);
    if (commit)
        commit->add(commit->arg, batch, sandbox);
    return store_commit(sandboxes->store, batch, STORE_SYNCED);
}

/* Nothing was ready: the intent is written before the jail is built. */
static struct status build(struct sandboxes *sandboxes, const uint8_t template_hash[32],
                           const struct sd_limits *limits, struct arena *arena,
                           Crownest__Records__SandboxRecord *record, struct jail *ret_jail)
{
    struct err err = {0};

    record->jail_id = record->sandbox->sandbox_id;
    if (write_living(sandboxes, record, NULL) < 0)
        return record_write_failed();
    int r =
        jail_pool_build(sandboxes->jails, record->jail_id, template_hash, limits, ret_jail, &err);

    if (r == 0)
        return STATUS_OK_VALUE;
    (void)write_end(sandboxes, record, arena, CROWNEST__V1__END_CAUSE__END_CAUSE_CREATE_FAILED,
                    err.message);
    return status_unavailable("SANDBOX_CREATE_FAILED", "the jail could not be built: %s",
                              err.message);
}

/* A jail of the pool needs no intent: sandboxd names those that no record claims at the next start.
 */
static struct status take_jail(struct sandboxes *sandboxes, const uint8_t template_hash[32],
                               struct arena *arena, Crownest__Records__SandboxRecord *record,
                               struct jail *ret_jail)
{
    const Crownest__V1__Resources *resources = record->sandbox->resources;
    struct sd_limits limits = {.memory_bytes = resources->memory_bytes,
                               .disk_bytes = resources->disk_bytes,
                               .cpu_millis = resources->cpu_millis,
                               .max_processes = resources->max_processes};

    if (!jail_pool_claim(sandboxes->jails, template_hash, &limits, ret_jail))
        return build(sandboxes, template_hash, &limits, arena, record, ret_jail);
    record->jail_id = arena_strdup(arena, ret_jail->id);
    return STATUS_OK_VALUE;
}

struct status sandboxes_create(struct sandboxes *sandboxes, const uint8_t template_hash[32],
                               uint64_t ttl_ms, struct arena *arena,
                               const struct sandbox_commit *commit,
                               Crownest__Records__SandboxRecord *record)
{
    struct status status = admit(sandboxes);
    struct jail jail;
    uint64_t due = clock_monotonic_ms() + ttl_ms;

    if (!status_is_ok(&status))
        return status;
    fill_record(record, ttl_ms, arena);
    status = take_jail(sandboxes, template_hash, arena, record, &jail);
    if (!status_is_ok(&status)) {
        unadmit(sandboxes);
        return status;
    }
    struct sandbox *sandbox = sandbox_new(sandboxes, &jail, record);

    record->sandbox->state = CROWNEST__V1__SANDBOX_STATE__SANDBOX_STATE_RUNNING;
    record->sandbox->start_time = prototime_from_us(arena, clock_wall_us());
    if (write_living(sandboxes, record, commit) < 0)
        status = record_write_failed();
    sandbox_start(sandboxes, sandbox, due);
    if (!status_is_ok(&status))
        (void)end_sandbox(sandboxes, sandbox->project_id, sandbox->id,
                          CROWNEST__V1__END_CAUSE__END_CAUSE_CREATE_FAILED, "");
    return status;
}

/* Starting and stopping the service */

struct reconcile {
    struct sandboxes *sandboxes;
    int result;
};

static void kill_unknown(void *arg, const struct sd_reply *entry)
{
    struct reconcile *reconcile = arg;
    struct sd_reply reply;
    int r = sandboxd_kill(reconcile->sandboxes->sandboxd, entry->sandbox, &reply, NULL);

    if (r < 0)
        reconcile->result = r;
}

static bool bury(void *arg, const char *id, struct bytes project)
{
    struct reconcile *reconcile = arg;
    struct arena *arena = arena_new(ARENA_BYTES);
    char *project_id = arena_alloc(arena, project.size + 1);
    Crownest__Records__SandboxRecord *record;

    memcpy(project_id, project.data, project.size);
    int r = read_record(reconcile->sandboxes, project_id, id, arena, &record);

    if (r == 0) {
        bool expired = prototime_ms(record->sandbox->expire_time) <= clock_wall_ms();

        r = write_end(reconcile->sandboxes, record, arena,
                      expired ? CROWNEST__V1__END_CAUSE__END_CAUSE_TTL
                              : CROWNEST__V1__END_CAUSE__END_CAUSE_HOST_LOST,
                      expired ? "it passed while the service was down"
                              : "the service was restarted");
    }
    arena_free(arena);
    if (r < 0)
        reconcile->result = r;
    return true;
}

int sandboxes_reconcile(struct sandboxes *sandboxes, struct err *err)
{
    struct reconcile reconcile = {.sandboxes = sandboxes};
    char next[ID_SIZE];
    struct record_page all = {
        .prefix = schema_key("live", "", NULL, NULL), .start = "", .count = SIZE_MAX};
    int r = sandboxd_inventory(sandboxes->sandboxd, kill_unknown, &reconcile, err);

    if (r < 0)
        return r;
    r = record_page(sandboxes->store, &all, bury, &reconcile, next, sizeof(next));
    if (r < 0 || reconcile.result < 0)
        return err_set(err, EIO, "sandboxes of an earlier process could not be cleared away");
    return 0;
}

struct sandboxes *sandboxes_new(const struct sandboxes_options *options)
{
    struct sandboxes *sandboxes = calloc(1, sizeof(*sandboxes));

    if (!sandboxes)
        abort();
    sandboxes->store = options->store;
    sandboxes->loop = options->loop;
    sandboxes->sandboxd = options->sandboxd;
    sandboxes->hooks = options->hooks;
    sandboxes->jails = jail_pool_new(options->sandboxd, options->pool_size);
    (void)pthread_mutex_init(&sandboxes->mutex, NULL);
    (void)pthread_cond_init(&sandboxes->ended, NULL);
    sandboxes->workers = workers_new("lifecycle", LIFECYCLE_THREADS, LIFECYCLE_SHARE);
    return sandboxes;
}

/* The next one to end, copied out, since ending it frees it. */
static bool any_running(struct sandboxes *sandboxes, char ret_project[ID_SIZE],
                        char ret_id[ID_SIZE])
{
    lock_scope(&sandboxes->mutex);
    struct sandbox *sandbox = sandboxes->running;

    if (!sandbox)
        return false;
    memcpy(ret_project, sandbox->project_id, ID_SIZE);
    memcpy(ret_id, sandbox->id, ID_SIZE);
    return true;
}

void sandboxes_stop(struct sandboxes *sandboxes)
{
    char project_id[ID_SIZE];
    char id[ID_SIZE];
    struct status status = STATUS_OK_VALUE;

    if (!sandboxes)
        return;
    (void)pthread_mutex_lock(&sandboxes->mutex);
    bool first = !sandboxes->stopping;

    sandboxes->stopping = true;
    (void)pthread_mutex_unlock(&sandboxes->mutex);
    if (!first)
        return;
    while (status_is_ok(&status) && any_running(sandboxes, project_id, id))
        status = end_sandbox(sandboxes, project_id, id, CROWNEST__V1__END_CAUSE__END_CAUSE_KILLED,
                             "the service was stopped");
    jail_pool_free(sandboxes->jails);
    sandboxes->jails = NULL;
    workers_free(sandboxes->workers);
    sandboxes->workers = NULL;
}

void sandboxes_free(struct sandboxes *sandboxes)
{
    if (!sandboxes)
        return;
    sandboxes_stop(sandboxes);
    (void)pthread_cond_destroy(&sandboxes->ended);
    (void)pthread_mutex_destroy(&sandboxes->mutex);
    free(sandboxes);
}
