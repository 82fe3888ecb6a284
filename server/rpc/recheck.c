/*
 * Streams whose caller may call no more. A stream is cut by one event on its queue, which ends it
 * at its next step; one that only waits is ended by the event itself. A client that does not read
 * keeps the status from being sent: a while later such a stream is cancelled.
 */
#include <errno.h>
#include <stdlib.h>

#include "server/rpc/call.h"
#include "server/util/cleanup.h"
#include "server/util/clock.h"
#include "server/util/cond.h"
#include "server/util/limits.h"

static void on_cut(void *owner, bool ok)
{
    struct rpc_call *call = owner;

    (void)ok;
    if (call->route->method->client_streaming)
        client_stream_cut(call);
    else if (call->waiting)
        server_stream_woken(call);
    call_unref(call);
}

/* With the roll's mutex: a call on the roll is alive. */
static void cut(struct rpc_call *call, const struct status *status)
{
    struct status *copy = malloc(sizeof(*copy));

    if (!copy)
        abort();
    *copy = *status;
    call->cut_ms = clock_monotonic_ms();
    atomic_store(&call->cut, copy);
    call->tag_cut = (struct tag){on_cut, call};
    call_ref(call);
    if (grpc_call_start_batch(call->grpc, NULL, 0, &call->tag_cut, NULL) != GRPC_CALL_OK)
        abort();
}

static void cancel_late(struct rpc_call *call, const struct status *status)
{
    if (clock_monotonic_ms() - call->cut_ms >= LIMIT_CUT_MS)
        (void)grpc_call_cancel_with_status(call->grpc, (grpc_status_code)status->code,
                                           status->message, NULL);
}

/* With the roll's mutex. */
static void ask_all(struct rpc_server *server, rpc_recheck_fn *recheck, void *arg)
{
    for (struct rpc_call *call = server->roll.first; call; call = call->roll_next) {
        const struct status *before = atomic_load(&call->cut);

        if (before) {
            cancel_late(call, before);
            continue;
        }
        struct status status = recheck ? recheck(arg, &call->caller) : STATUS_OK_VALUE;

        if (!status_is_ok(&status))
            cut(call, &status);
    }
}

void rpc_server_recheck(struct rpc_server *server, rpc_recheck_fn *recheck, void *arg)
{
    lock_scope(&server->roll.mutex);
    server->roll.generation++;
    ask_all(server, recheck, arg);
}

static uint64_t generation_of(struct rpc_server *server)
{
    lock_scope(&server->roll.mutex);
    return server->roll.generation;
}

/* False: others were asked meanwhile, and this one would have been missed. */
static bool enrol(struct rpc_call *call, uint64_t generation)
{
    struct roll *roll = &call->listener->server->roll;

    lock_scope(&roll->mutex);
    if (roll->generation != generation)
        return false;
    call->roll_next = roll->first;
    call->roll_link = &roll->first;
    if (roll->first)
        roll->first->roll_link = &call->roll_next;
    roll->first = call;
    return true;
}

struct status roll_admit(struct rpc_call *call)
{
    struct rpc_server *server = call->listener->server;
    const struct rpc_server_options *options = &server->options;
    uint64_t generation;

    do {
        generation = generation_of(server);
        struct status status =
            options->authorize(options->context, call, call->local, &call->caller);

        if (!status_is_ok(&status))
            return status;
    } while (!enrol(call, generation));
    return STATUS_OK_VALUE;
}

void roll_leave(struct rpc_call *call)
{
    lock_scope(&call->listener->server->roll.mutex);
    if (!call->roll_link)
        return;
    *call->roll_link = call->roll_next;
    if (call->roll_next)
        call->roll_next->roll_link = call->roll_link;
    call->roll_link = NULL;
}

static void *sweep_main(void *arg)
{
    struct rpc_server *server = arg;
    struct roll *roll = &server->roll;

    lock_scope(&roll->mutex);
    while (!roll->stopping) {
        struct timespec end = cond_deadline(LIMIT_RECHECK_MS);

        if (pthread_cond_timedwait(&roll->stop, &roll->mutex, &end) == ETIMEDOUT)
            ask_all(server, server->options.recheck, server->options.context);
    }
    return NULL;
}

void roll_init(struct roll *roll)
{
    (void)pthread_mutex_init(&roll->mutex, NULL);
    cond_init(&roll->stop);
}

int roll_start(struct rpc_server *server, struct err *err)
{
    struct roll *roll = &server->roll;

    roll->started = pthread_create(&roll->thread, NULL, sweep_main, server) == 0;
    return roll->started ? 0 : err_set(err, EAGAIN, "cannot start a thread for open streams");
}

void roll_done(struct roll *roll)
{
    (void)pthread_mutex_lock(&roll->mutex);
    roll->stopping = true;
    (void)pthread_cond_signal(&roll->stop);
    (void)pthread_mutex_unlock(&roll->mutex);
    if (roll->started)
        (void)pthread_join(roll->thread, NULL);
    (void)pthread_cond_destroy(&roll->stop);
    (void)pthread_mutex_destroy(&roll->mutex);
}
