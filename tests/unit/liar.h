/* A nest-init that was taken over: gets the server's requests, and answers what it likes. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "server/sandbox/nest.h"

struct liar;

/* On the liar's thread. handed: the descriptor that came with the request, or -1; the liar's. */
typedef void lie_fn(struct liar *liar, const struct nest_request *request, int handed);

struct liar {
    struct nest *nest; /* the server's end */
    int fd;            /* nest-init's */
    atomic_int exits;  /* that the server has heard of */
    atomic_bool closed;
    lie_fn *lie;
    unsigned requests; /* that it takes, until it is silent */
    struct loop *loop;
    pthread_t thread;
};

void liar_begin(struct liar *liar, lie_fn *lie, unsigned requests);
/* Once it has taken all its requests. */
void liar_end(struct liar *liar);

/* Success, with nothing in it. */
struct nest_reply liar_truth(const struct nest_request *request);
void liar_say(struct liar *liar, const struct nest_reply *reply, size_t size, const int *fds,
              unsigned count);

/* Of this process. */
int liar_count_descriptors(void);
