/* Condition variables whose waits end at a point of the monotonic clock. */
#pragma once

#include <pthread.h>
#include <time.h>

/* As pthread_cond_init; what waits for it with a deadline uses cond_deadline. */
void cond_init(pthread_cond_t *cond);

/* The point in time that many milliseconds from now, for pthread_cond_timedwait. */
struct timespec cond_deadline(unsigned ms);
