/* What becomes of a sandbox whose bucket is empty. */
#include "server/sandbox/sandbox_private.h"

#include <stdio.h>

#include "server/util/container_of.h"

static void queue_end(struct sandbox *sandbox)
{
    (void)pthread_mutex_lock(&sandbox->owner->mutex);
    /* All of a bucket's end at once: it is not one project that takes more than its share. */
    if (!sandbox->end_job_queued)
        sandbox->end_job.tenant = NULL;
    (void)pthread_mutex_unlock(&sandbox->owner->mutex);
    sandbox_queue_end(sandbox, CROWNEST__V1__END_CAUSE__END_CAUSE_BUDGET);
}

/* What cannot be paused ends, since it must not go on. */
void sandbox_budget_run(struct job *job)
{
    struct sandbox *sandbox = container_of(job, struct sandbox, pause_job);
    struct arena *arena = arena_new(SANDBOX_ARENA_BYTES);
    Crownest__V1__Sandbox *paused;
    struct status status =
        sandboxes_pause(sandbox->owner, sandbox->project_id, sandbox->id, NULL, arena, &paused);

    arena_free(arena);
    (void)pthread_mutex_lock(&sandbox->owner->mutex);
    sandbox->pause_job_queued = false;
    (void)pthread_mutex_unlock(&sandbox->owner->mutex);
    if (status_is_ok(&status))
        sandbox_unref(sandbox);
    else
        queue_end(sandbox);
}

void sandboxes_out_of_budget(struct sandboxes *sandboxes, const char *project_id,
                             const char *sandbox_id, const char *bucket_name, bool pause)
{
    struct sandbox *sandbox = sandboxes_find(sandboxes, project_id, sandbox_id);

    if (!sandbox)
        return;
    (void)pthread_mutex_lock(&sandboxes->mutex);
    bool queue = pause && !sandbox->pause_job_queued;

    if (queue)
        sandbox->pause_job_queued = true;
    if (!sandbox->end_job_queued)
        (void)snprintf(sandbox->end_detail, sizeof(sandbox->end_detail), "the bucket %s is empty",
                       bucket_name);
    (void)pthread_mutex_unlock(&sandboxes->mutex);
    if (queue)
        workers_submit(sandboxes->workers, &sandbox->pause_job);
    else if (pause)
        sandbox_unref(sandbox);
    else
        queue_end(sandbox);
}
