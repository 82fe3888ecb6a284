#include "server/sandbox/loop.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "server/util/cleanup.h"
#include "server/util/clock.h"

#define LOOP_BATCH 64

struct loop {
    int epoll_fd;
    struct loop_source wake;
    pthread_t thread;
    pthread_mutex_t mutex;    /* of what follows */
    struct loop_timer **heap; /* slot 0 is unused */
    size_t heap_size;
    size_t heap_capacity;
    struct loop_task *tasks;
    struct loop_task **last_task;
    bool ending;
    /* Of the loop's thread. */
    struct epoll_event batch[LOOP_BATCH];
    int batch_size;
};

static void loop_wake(struct loop *loop)
{
    uint64_t one = 1;

    (void)!write(loop->wake.fd, &one, sizeof(one));
}

static void heap_set(struct loop *loop, size_t slot, struct loop_timer *timer)
{
    loop->heap[slot] = timer;
    timer->slot = slot;
}

static void heap_up(struct loop *loop, size_t slot)
{
    struct loop_timer *timer = loop->heap[slot];

    for (; slot > 1 && loop->heap[slot / 2]->due_ms > timer->due_ms; slot /= 2)
        heap_set(loop, slot, loop->heap[slot / 2]);
    heap_set(loop, slot, timer);
}

static void heap_down(struct loop *loop, size_t slot)
{
    struct loop_timer *timer = loop->heap[slot];

    for (size_t child; (child = slot * 2) <= loop->heap_size; slot = child) {
        if (child < loop->heap_size && loop->heap[child + 1]->due_ms < loop->heap[child]->due_ms)
            child++;
        if (loop->heap[child]->due_ms >= timer->due_ms)
            break;
        heap_set(loop, slot, loop->heap[child]);
    }
    heap_set(loop, slot, timer);
}

static void heap_remove(struct loop *loop, struct loop_timer *timer)
{
    size_t slot = timer->slot;
    struct loop_timer *last = loop->heap[loop->heap_size--];

    timer->slot = 0;
    if (last == timer)
        return;
    heap_set(loop, slot, last);
    heap_up(loop, slot);
    heap_down(loop, last->slot);
}

void loop_arm(struct loop *loop, struct loop_timer *timer, uint64_t due_ms)
{
    lock_scope(&loop->mutex);
    if (timer->slot)
        heap_remove(loop, timer);
    if (loop->heap_size + 2 > loop->heap_capacity) {
        loop->heap_capacity = loop->heap_capacity ? loop->heap_capacity * 2 : 64;
        loop->heap = realloc(loop->heap, loop->heap_capacity * sizeof(*loop->heap));
        if (!loop->heap)
            abort();
    }
    timer->due_ms = due_ms;
    loop->heap[++loop->heap_size] = timer;
    heap_up(loop, loop->heap_size);
    if (timer->slot == 1)
        loop_wake(loop);
}

int loop_disarm(struct loop *loop, struct loop_timer *timer)
{
    lock_scope(&loop->mutex);
    if (!timer->slot)
        return 0;
    heap_remove(loop, timer);
    return 1;
}

void loop_post(struct loop *loop, struct loop_task *task)
{
    lock_scope(&loop->mutex);
    task->next = NULL;
    *loop->last_task = task;
    loop->last_task = &task->next;
    loop_wake(loop);
}

int loop_add(struct loop *loop, struct loop_source *source, uint32_t epoll_events)
{
    struct epoll_event event = {.events = epoll_events, .data.ptr = source};

    return epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, source->fd, &event) < 0 ? -errno : 0;
}

void loop_remove(struct loop *loop, struct loop_source *source)
{
    (void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, source->fd, NULL);
    for (int i = 0; i < loop->batch_size; i++) {
        if (loop->batch[i].data.ptr == source)
            loop->batch[i].data.ptr = NULL;
    }
}

/* Fires what is due; returns the milliseconds until the next one, or -1. */
static int loop_fire(struct loop *loop)
{
    for (;;) {
        (void)pthread_mutex_lock(&loop->mutex);
        struct loop_timer *timer = loop->heap_size ? loop->heap[1] : NULL;
        uint64_t now = clock_monotonic_ms();
        uint64_t due = timer ? timer->due_ms : UINT64_MAX;

        if (due > now) {
            /* From here on the timer may be disarmed, and freed, by whoever owns it. */
            (void)pthread_mutex_unlock(&loop->mutex);
            if (!timer)
                return -1;
            return due - now > 60000 ? 60000 : (int)(due - now);
        }
        heap_remove(loop, timer);
        (void)pthread_mutex_unlock(&loop->mutex);
        timer->fire(timer);
    }
}

static bool loop_run_tasks(struct loop *loop)
{
    (void)pthread_mutex_lock(&loop->mutex);
    struct loop_task *task = loop->tasks;
    bool ending = loop->ending;

    loop->tasks = NULL;
    loop->last_task = &loop->tasks;
    (void)pthread_mutex_unlock(&loop->mutex);
    for (struct loop_task *next; task; task = next) {
        next = task->next;
        task->run(task);
    }
    return !ending;
}

static void *loop_thread(void *arg)
{
    struct loop *loop = arg;

    while (loop_run_tasks(loop)) {
        int timeout = loop_fire(loop);

        loop->batch_size = epoll_wait(loop->epoll_fd, loop->batch, LOOP_BATCH, timeout);
        for (int i = 0; i < loop->batch_size; i++) {
            struct loop_source *source = loop->batch[i].data.ptr;

            if (source)
                source->ready(source, loop->batch[i].events);
        }
        loop->batch_size = 0;
    }
    return NULL;
}

static void wake_ready(struct loop_source *source, uint32_t events)
{
    uint64_t count;

    (void)events;
    (void)!read(source->fd, &count, sizeof(count));
}

int loop_new(struct loop **ret_loop)
{
    struct loop *loop = calloc(1, sizeof(*loop));

    if (!loop)
        abort();
    (void)pthread_mutex_init(&loop->mutex, NULL);
    loop->last_task = &loop->tasks;
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    loop->wake.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    loop->wake.ready = wake_ready;
    if (loop->epoll_fd < 0 || loop->wake.fd < 0 || loop_add(loop, &loop->wake, EPOLLIN) < 0 ||
        pthread_create(&loop->thread, NULL, loop_thread, loop) != 0)
        abort();
    (void)pthread_setname_np(loop->thread, "loop");
    *ret_loop = loop;
    return 0;
}

void loop_stop(struct loop *loop)
{
    if (!loop)
        return;
    (void)pthread_mutex_lock(&loop->mutex);
    bool first = !loop->ending;

    loop->ending = true;
    loop_wake(loop);
    (void)pthread_mutex_unlock(&loop->mutex);
    if (first)
        (void)pthread_join(loop->thread, NULL);
}

void loop_free(struct loop *loop)
{
    if (!loop)
        return;
    loop_stop(loop);
    (void)close(loop->epoll_fd);
    (void)close(loop->wake.fd);
    free(loop->heap);
    free(loop);
}
