/*
 * One call under way. Private to the engine.
 *
 * A call makes one step at a time: it waits for a message, runs a job on a worker, or waits for a
 * message to be sent; whoever finishes a step starts the next. That chain holds one reference.
 * Beside it only two events come from outside, both on the thread of the call's queue: the end of
 * the call as the client sees it (`close`) and a wake (`wake`).
 */
#pragma once

#include <grpc/grpc.h>
#include <stdatomic.h>

#include "server/rpc/engine.h"
#include "server/rpc/pool.h"
#include "server/rpc/rpc.h"
#include "server/rpc/status_wire.h"
#include "server/rpc/tag.h"

struct rpc_waker {
    atomic_uint refs;
    pthread_mutex_t mutex;
    struct rpc_call *call; /* NULL once the call is over */
    bool pending;          /* a wake is in the queue and was not handled yet */
};

struct rpc_call {
    struct listener *listener;
    const struct route *route;
    atomic_uint refs;
    atomic_bool cancelled;
    bool counted; /* among the server's running calls or streams */
    bool local;
    struct rpc_caller caller;
    char request_id[ID_SIZE];

    grpc_call *grpc;
    grpc_completion_queue *bound;
    grpc_call_details details; /* of generic listeners */
    grpc_metadata_array metadata;
    gpr_timespec deadline;
    int close_cancelled;

    grpc_byte_buffer *received;
    grpc_slice request; /* the message in received, in one piece */
    struct arena *arena;

    bool initial_sent;
    grpc_slice initial_value;
    grpc_metadata extra[RPC_METADATA_MAX]; /* of rpc_call_set_metadata */
    size_t extra_count;
    struct status_wire wire;
    bool wire_made;
    void (*on_sent)(struct rpc_call *call, bool ok);

    struct pool_job job;
    void (*on_job)(struct rpc_call *call);
    void (*on_message)(struct rpc_call *call, bool ok);

    bool opened; /* state is the handler's, and closed once */
    void *state;
    /* Of server streams, touched by the queue's thread only. */
    bool waiting; /* nothing to send: the next wake goes on */
    bool ahead;   /* next holds a message that was pulled ahead */
    bool ended;   /* pull said so, with end_status */
    grpc_byte_buffer *next;
    struct status *end_status;
    struct rpc_waker *waker;

    /* Of streams: see recheck.c. */
    _Atomic(struct status *) cut; /* not NULL: it ends with this at its next step */
    uint64_t cut_ms;
    struct rpc_call *roll_next, **roll_link; /* link NULL: not on the roll */
    atomic_int turn;                         /* of client streams: see client_stream.c */

    struct tag tag_cut;
    struct tag tag_new, tag_close, tag_receive, tag_send, tag_wake;
};

/* A call in waiting: asks the listener's server for the next call. */
void call_request(struct listener *listener);

void call_ref(struct rpc_call *call);
void call_unref(struct rpc_call *call);

/* The steps. Each consumes the step and names what follows it. */
void call_receive(struct rpc_call *call, void (*on_message)(struct rpc_call *call, bool ok));
void call_work(struct rpc_call *call, void (*on_job)(struct rpc_call *call));
/* Takes message, which may be NULL: then only the initial metadata goes out. */
void call_send(struct rpc_call *call, grpc_byte_buffer *message, uint32_t flags,
               void (*on_sent)(struct rpc_call *call, bool ok));
/*
 * On a worker, once the caller is known: runs on_job for the caller's project, now or, when that
 * has its share of the workers, later. on_job calls call_leave when what may block is over, and
 * before it starts the next step.
 */
void call_work_as_caller(struct rpc_call *call, void (*on_job)(struct rpc_call *call));
void call_leave(struct rpc_call *call);
/* Sends the status, before it the message if there is one, and ends the call. */
void call_finish(struct rpc_call *call, const struct status *status, grpc_byte_buffer *message);
/* The same for whoever does not hold the step, which goes on; takes no message. */
void call_say_end(struct rpc_call *call, const struct status *status);
/* Ends the call without a word: the client is gone. Releases what the handler holds. */
void call_end(struct rpc_call *call);

/* What the kinds of calls do once a call has come in. */
void unary_start(struct rpc_call *call);
void server_stream_start(struct rpc_call *call);
void server_stream_cancelled(struct rpc_call *call);
void server_stream_woken(struct rpc_call *call);
void client_stream_start(struct rpc_call *call);
/* It has been cut: ends it if it waits for a message. From any thread that holds a reference. */
void client_stream_cut(struct rpc_call *call);
void bidi_start(struct rpc_call *call);

/* For streams: authorizes the call and puts it on the roll. */
struct status roll_admit(struct rpc_call *call);
void roll_leave(struct rpc_call *call);

/* On a worker: whether the caller may go on; fills call->caller. */
struct status call_authorize(struct rpc_call *call);
/* On a worker: the received message, checked and typed. */
struct status call_decode(struct rpc_call *call, ProtobufCMessage **ret_message);
/* Takes the received bytes out of gRPC's buffer; REQUEST_TOO_LARGE beyond the method's bound. */
struct status call_take_message(struct rpc_call *call);
void call_drop_message(struct rpc_call *call);
/* An initialised response in the arena. */
ProtobufCMessage *call_response(struct rpc_call *call);
grpc_byte_buffer *call_pack(const ProtobufCMessage *message);
