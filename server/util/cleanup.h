/* Attributes that release what a scope owns when the scope ends. */
#pragma once

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_fd_fn(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}

static inline void cleanup_free_fn(void *pointer)
{
    free(*(void **)pointer);
}

static inline void cleanup_unlock_fn(pthread_mutex_t **mutex)
{
    if (*mutex)
        (void)pthread_mutex_unlock(*mutex);
}

#define cleanup_fd __attribute__((cleanup(cleanup_fd_fn)))
#define cleanup_free __attribute__((cleanup(cleanup_free_fn)))

/* Holds the mutex until the end of the scope. */
#define lock_scope(mutex)                                                                          \
    pthread_mutex_t *lock_scope_held __attribute__((cleanup(cleanup_unlock_fn), unused)) =         \
        (pthread_mutex_lock(mutex), (mutex))

/* Gives the descriptor away: returns it and leaves -1 behind. */
static inline int take_fd(int *fd)
{
    int taken = *fd;

    *fd = -1;
    return taken;
}
