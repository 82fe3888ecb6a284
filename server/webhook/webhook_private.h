/* What is known of each webhook, and the delivery that works on it. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "server/audit/cursor.h"
#include "server/util/workers.h"
#include "server/webhook/post.h"
#include "server/webhook/signature.h"
#include "server/webhook/webhook.h"

struct webhooks {
    struct store *store;
    struct audit *audit;
    uint8_t key[WEBHOOK_KEY_SIZE];
    struct workers *workers;
    struct audit_follower follower;
    pthread_t thread;
    atomic_bool stopping;
    pthread_mutex_t changing; /* of what the store knows of them; taken before the other */
    /*
     * Of what follows, and of the state of each. The store's thread takes it: nothing is committed
     * under it.
     */
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct webhook *first;
    size_t count;
};

struct webhook_state {
    uint64_t delivered; /* entries up to this one have arrived, or do not fit */
    uint64_t trying;    /* last entry of a delivery that has not arrived yet; 0: none */
    uint64_t written;   /* what the store knows of `delivered` */
    unsigned failures;  /* in a row */
    uint64_t next_ms;   /* of the monotonic clock: not before; 0: at once */
    uint64_t failing_since_ms;
    bool slow; /* the last delivery failed or took long: not all threads are for the like of it */
    char last_error[POST_ERROR_SIZE];
};

struct webhook {
    struct webhooks *owner;
    struct webhook *next;
    Crownest__V1__Webhook *record; /* never changes */
    struct audit_filter filter;
    struct job job;
    bool running;               /* the job is submitted */
    atomic_bool deleted;        /* whoever sees it last frees it */
    struct webhook_state state; /* the job works on a copy */
};

/* One delivery, or a look at entries that do not fit. */
void webhook_deliver(struct job *job);
void webhook_free(struct webhook *webhook);
