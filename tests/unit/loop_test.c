/* The loop: what is due fires in order, what is removed is not called. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "server/sandbox/loop.h"
#include "server/util/clock.h"
#include "server/util/container_of.h"

#define TIMERS 200

struct record {
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    int order[TIMERS];
    int count;
};

static struct record record = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, {0}, 0};

struct entry {
    struct loop_timer timer;
    struct loop_task task;
    int number;
};

static void note(int number)
{
    (void)pthread_mutex_lock(&record.mutex);
    record.order[record.count++] = number;
    (void)pthread_cond_broadcast(&record.wake);
    (void)pthread_mutex_unlock(&record.mutex);
}

static void wait_for(int count)
{
    (void)pthread_mutex_lock(&record.mutex);
    while (record.count < count)
        (void)pthread_cond_wait(&record.wake, &record.mutex);
    (void)pthread_mutex_unlock(&record.mutex);
}

static void fired(struct loop_timer *timer)
{
    note(container_of(timer, struct entry, timer)->number);
}

static void ran(struct loop_task *task)
{
    note(container_of(task, struct entry, task)->number);
}

static void timers_fire_in_order_of_their_time(void **state)
{
    static struct entry entries[TIMERS];
    struct loop *loop;
    uint64_t now = clock_monotonic_ms();

    (void)state;
    record.count = 0;
    assert_int_equal(loop_new(&loop), 0);
    for (int i = 0; i < TIMERS; i++) {
        int number = i * 77 % TIMERS;

        entries[i] = (struct entry){.timer.fire = fired, .number = number};
        loop_arm(loop, &entries[i].timer, now + 100 + (uint64_t)number / 4);
    }
    /* Half of them are taken away again. */
    int left = TIMERS;

    for (int i = 0; i < TIMERS; i++) {
        if (entries[i].number % 2) {
            assert_int_equal(loop_disarm(loop, &entries[i].timer), 1);
            left--;
        }
    }
    assert_int_equal(loop_disarm(loop, &entries[1].timer), 0);
    wait_for(left);
    assert_true(clock_monotonic_ms() >= now + 100);
    for (int i = 0; i + 1 < left; i++) {
        assert_int_equal(record.order[i] % 2, 0);
        assert_true(record.order[i] / 4 <= record.order[i + 1] / 4);
    }
    loop_free(loop);
}

static void tasks_run_in_the_order_they_were_posted(void **state)
{
    static struct entry entries[TIMERS];
    struct loop *loop;

    (void)state;
    record.count = 0;
    assert_int_equal(loop_new(&loop), 0);
    for (int i = 0; i < TIMERS; i++) {
        entries[i] = (struct entry){.task.run = ran, .number = i};
        loop_post(loop, &entries[i].task);
    }
    wait_for(TIMERS);
    for (int i = 0; i < TIMERS; i++)
        assert_int_equal(record.order[i], i);
    loop_free(loop);
}

struct pair {
    struct loop_source sources[2];
    struct loop *loop;
};

/* Whichever comes first removes both: the other, perhaps of the same batch, must stay silent. */
static struct pair pair;

static void remove_both(struct loop_source *source, uint32_t events)
{
    (void)source;
    (void)events;
    loop_remove(pair.loop, &pair.sources[0]);
    loop_remove(pair.loop, &pair.sources[1]);
    note(0);
}

/* On the loop's thread, so that it waits for both or neither. */
static void add_both(struct loop_task *task)
{
    (void)task;
    assert_int_equal(loop_add(pair.loop, &pair.sources[1], EPOLLOUT), 0);
    assert_int_equal(loop_add(pair.loop, &pair.sources[0], EPOLLIN), 0);
}

static void a_removed_source_is_not_called(void **state)
{
    static struct loop_task add = {.run = add_both};
    static struct entry last = {.task.run = ran, .number = 1};
    int ends[2];

    (void)state;
    record.count = 0;
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(loop_new(&pair.loop), 0);
    assert_int_equal(write(ends[1], "x", 1), 1);
    pair.sources[0] = (struct loop_source){.fd = ends[0], .ready = remove_both};
    pair.sources[1] = (struct loop_source){.fd = ends[1], .ready = remove_both};
    loop_post(pair.loop, &add);
    wait_for(1);
    loop_post(pair.loop, &last.task);
    wait_for(2);
    assert_int_equal(record.order[1], 1);
    assert_int_equal(record.count, 2);
    loop_free(pair.loop);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timers_fire_in_order_of_their_time),
        cmocka_unit_test(tasks_run_in_the_order_they_were_posted),
        cmocka_unit_test(a_removed_source_is_not_called),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
