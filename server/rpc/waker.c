/*
 * A wake is an empty batch: gRPC puts its tag into the call's queue at once, from any thread, and
 * the queue's thread goes on with the stream. Wakes that were not handled yet are one.
 */
#include <stdlib.h>

#include "server/rpc/call.h"
#include "server/util/cleanup.h"

struct rpc_waker *rpc_call_waker(struct rpc_call *call)
{
    struct rpc_waker *waker = call->waker;

    if (!waker) {
        waker = calloc(1, sizeof(*waker));
        if (!waker)
            abort();
        atomic_init(&waker->refs, 1);
        (void)pthread_mutex_init(&waker->mutex, NULL);
        waker->call = call;
        call->waker = waker;
    }
    (void)atomic_fetch_add(&waker->refs, 1);
    return waker;
}

static void on_wake(void *owner, bool ok)
{
    struct rpc_call *call = owner;
    struct rpc_waker *waker = call->waker;

    (void)ok;
    /* Without one the call ended meanwhile. From here on a wake is a new one, so that what
     * happens after the pull below is not missed. */
    if (waker) {
        (void)pthread_mutex_lock(&waker->mutex);
        waker->pending = false;
        (void)pthread_mutex_unlock(&waker->mutex);
        if (call->waiting)
            server_stream_woken(call);
    }
    call_unref(call);
}

void rpc_waker_wake(struct rpc_waker *waker)
{
    lock_scope(&waker->mutex);
    struct rpc_call *call = waker->call;

    if (!call || waker->pending)
        return;
    waker->pending = true;
    call->tag_wake = (struct tag){on_wake, call};
    call_ref(call);
    if (grpc_call_start_batch(call->grpc, NULL, 0, &call->tag_wake, NULL) != GRPC_CALL_OK)
        abort();
}

void rpc_waker_unref(struct rpc_waker *waker)
{
    if (!waker || atomic_fetch_sub(&waker->refs, 1) != 1)
        return;
    (void)pthread_mutex_destroy(&waker->mutex);
    free(waker);
}
