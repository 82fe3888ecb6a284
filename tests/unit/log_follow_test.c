/* Following a command's log: nothing is missed, no wake comes too late or after its reader. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "server/log/log.h"
#include "tests/unit/tempdir.h"

#define FOLLOWED_FRAMES 20000
#define FOLLOWERS 3
#define ANSWERED_FRAMES 50000

static struct log *create(const char *directory)
{
    struct log *log = NULL;
    struct err err = {0};

    if (log_create(directory, "cmd_01hz", &log, &err) != 0)
        fail_msg("%s", err.message);
    return log;
}

static int append(struct log *log, const char *text)
{
    return log_append(log, LOG_STDOUT, 7, bytes_of_string(text));
}

static void post(void *semaphore)
{
    (void)sem_post(semaphore);
}

static void *append_numbers(void *arg)
{
    struct log *log = arg;

    for (uint32_t i = 0; i < FOLLOWED_FRAMES; i++) {
        if (log_append(log, LOG_STDOUT, i, bytes_of(&i, sizeof(i))) != 0)
            return log;
    }
    return log_end(log) == 0 ? NULL : log;
}

struct follower {
    struct log *log;
    uint64_t offset;
    bool wrong;
};

static void *follow_numbers(void *arg)
{
    struct follower *follower = arg;
    struct log_reader *reader;
    sem_t semaphore;
    bool ended = false;
    int result;

    (void)sem_init(&semaphore, 0, 0);
    if (log_reader_new(follower->log, follower->offset, post, &semaphore, &reader) != 0)
        return NULL;
    for (;;) {
        struct log_frame frame;
        uint32_t number = (uint32_t)(follower->offset / sizeof(number));

        ended = log_ended(follower->log);
        result = log_reader_next(reader, &frame);
        if (result < 0 || (result == 0 && ended))
            break;
        if (result == 0) {
            (void)sem_wait(&semaphore);
            continue;
        }
        if (frame.offset != follower->offset || frame.payload.size != sizeof(number) ||
            memcmp(frame.payload.data, &number, sizeof(number)) != 0)
            follower->wrong = true;
        follower->offset += frame.payload.size;
    }
    follower->wrong = follower->wrong || result != 0;
    log_reader_free(reader);
    (void)sem_destroy(&semaphore);
    return NULL;
}

static void followers_miss_nothing(void **state)
{
    struct log *log = create(*state);
    struct follower followers[FOLLOWERS];
    pthread_t threads[FOLLOWERS];
    pthread_t writer;
    void *failure;

    for (int i = 0; i < FOLLOWERS; i++) {
        followers[i] = (struct follower){.log = log};
        assert_int_equal(pthread_create(&threads[i], NULL, follow_numbers, &followers[i]), 0);
    }
    assert_int_equal(pthread_create(&writer, NULL, append_numbers, log), 0);
    (void)pthread_join(writer, &failure);
    assert_null(failure);
    for (int i = 0; i < FOLLOWERS; i++) {
        (void)pthread_join(threads[i], NULL);
        assert_false(followers[i].wrong);
        assert_int_equal(followers[i].offset, FOLLOWED_FRAMES * sizeof(uint32_t));
    }
    log_unref(log);
}

struct answered {
    struct log *log;
    sem_t answers;
};

static void *append_when_answered(void *arg)
{
    struct answered *answered = arg;

    for (int i = 0; i < ANSWERED_FRAMES; i++) {
        (void)sem_wait(&answered->answers);
        if (append(answered->log, "x") != 0)
            return arg;
    }
    return NULL;
}

/* Nothing is appended before the last frame was seen, so that one lost wake stops everything. */
static void no_wake_is_lost(void **state)
{
    struct answered answered = {.log = create(*state)};
    struct log_reader *reader;
    struct log_frame frame;
    pthread_t writer;
    sem_t wakes;
    void *failure;

    (void)sem_init(&answered.answers, 0, 1);
    (void)sem_init(&wakes, 0, 0);
    assert_int_equal(log_reader_new(answered.log, 0, post, &wakes, &reader), 0);
    assert_int_equal(pthread_create(&writer, NULL, append_when_answered, &answered), 0);
    for (int seen = 0; seen < ANSWERED_FRAMES;) {
        int result = log_reader_next(reader, &frame);

        assert_true(result >= 0);
        if (result == 1) {
            seen++;
            (void)sem_post(&answered.answers);
            continue;
        }
        struct timespec deadline;

        (void)clock_gettime(CLOCK_REALTIME, &deadline);
        deadline.tv_sec += 20;
        assert_int_equal(sem_timedwait(&wakes, &deadline), 0);
    }
    (void)pthread_join(writer, &failure);
    assert_null(failure);
    log_reader_free(reader);
    log_unref(answered.log);
}

static void count_wake(void *arg)
{
    (*(unsigned *)arg)++;
}

static void wake_comes_once_until_caught_up(void **state)
{
    struct log *log = create(*state);
    struct log_reader *reader;
    struct log_frame frame;
    unsigned wakes = 0;

    assert_int_equal(log_reader_new(log, 0, count_wake, &wakes, &reader), 0);
    assert_int_equal(append(log, "a"), 0);
    assert_int_equal(append(log, "b"), 0);
    assert_int_equal(wakes, 1);
    assert_int_equal(log_reader_next(reader, &frame), 1);
    assert_int_equal(append(log, "c"), 0);
    assert_int_equal(wakes, 1);
    assert_int_equal(log_reader_next(reader, &frame), 1);
    assert_int_equal(log_reader_next(reader, &frame), 1);
    assert_int_equal(log_reader_next(reader, &frame), 0);
    assert_int_equal(append(log, "d"), 0);
    assert_int_equal(wakes, 2);
    assert_int_equal(log_end(log), 0);
    assert_int_equal(wakes, 3);
    log_reader_free(reader);
    log_unref(log);
}

struct churn {
    struct log *log;
    atomic_bool stop;
};

static void *append_until_stopped(void *arg)
{
    struct churn *churn = arg;

    while (!atomic_load(&churn->stop))
        (void)append(churn->log, "x");
    return NULL;
}

/* The wake's argument is released at once: whoever woke later would touch freed memory. */
static void free_waits_for_the_wake(void **state)
{
    struct churn churn = {.log = create(*state)};
    pthread_t writer;

    assert_int_equal(pthread_create(&writer, NULL, append_until_stopped, &churn), 0);
    for (unsigned i = 0; i < 2000; i++) {
        struct log_reader *reader;
        sem_t *semaphore = calloc(1, sizeof(*semaphore));

        assert_non_null(semaphore);
        (void)sem_init(semaphore, 0, 0);
        assert_int_equal(log_reader_new(churn.log, 0, post, semaphore, &reader), 0);
        if (i % 2)
            (void)sem_wait(semaphore);
        log_reader_free(reader);
        (void)sem_destroy(semaphore);
        memset(semaphore, 0xee, sizeof(*semaphore));
        free(semaphore);
    }
    atomic_store(&churn.stop, true);
    (void)pthread_join(writer, NULL);
    log_unref(churn.log);
}

static int make_tempdir(void **state)
{
    *state = tempdir_new();
    return 0;
}

static int remove_tempdir(void **state)
{
    tempdir_free(*state);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_tempdir, remove_tempdir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(followers_miss_nothing),
        TEST(no_wake_is_lost),
        TEST(wake_comes_once_until_caught_up),
        TEST(free_waits_for_the_wake),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
