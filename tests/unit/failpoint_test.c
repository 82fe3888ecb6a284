/* Failpoints do what they are told at the passing that was named, and nothing else. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/util/failpoint.h"

/* Each in a process of its own, since the environment is read once. Returns its wait status. */
static int run(const char *armed, int (*body)(void))
{
    int status = 0;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        (void)setenv("CROWNEST_FAILPOINTS", armed, 1);
        _exit(body());
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static int fails_once(void)
{
    int first = FAILPOINT_ERROR("a.place");
    int other = FAILPOINT_ERROR("another");
    int second = FAILPOINT_ERROR("a.place");
    int third = FAILPOINT_ERROR("a.place");

    return first == 0 && other == 0 && second == -ENOSPC && third == 0 ? 0 : 1;
}

static void a_place_fails_at_one_passing(void **state)
{
    (void)state;
    assert_int_equal(run("a.place=enospc@2", fails_once), 0);
}

static int fails_twice(void)
{
    int first = FAILPOINT_ERROR("a.place");
    int second = FAILPOINT_ERROR("a.place");

    return first == -EIO && second == -ENOSPC && FAILPOINT_ERROR("b.place") == -EIO ? 0 : 1;
}

static void several_are_armed_at_one_time(void **state)
{
    (void)state;
    assert_int_equal(run("a.place=eio@1,a.place=enospc@2,b.place=eio@1", fails_twice), 0);
}

static int is_short(void)
{
    return FAILPOINT_SIZE("a.place", 10) == 5 && FAILPOINT_SIZE("a.place", 10) == 10 &&
                   FAILPOINT_SIZE("b.place", 1) == 1 && FAILPOINT_ERROR("c.place") == 0
               ? 0
               : 1;
}

static void a_size_is_cut_and_never_to_nothing(void **state)
{
    (void)state;
    assert_int_equal(run("a.place=short@1,b.place=short@1,c.place=short@1", is_short), 0);
}

static int is_skipped(void)
{
    bool first = FAILPOINT_SKIP("a.place");
    bool second = FAILPOINT_SKIP("a.place");

    return first && second && !FAILPOINT_SKIP("b.place") ? 0 : 1;
}

static void what_is_skipped_may_be_so_each_time(void **state)
{
    (void)state;
    assert_int_equal(run("a.place=skip@0", is_skipped), 0);
}

static int jumps(void)
{
    int64_t first = FAILPOINT_JUMP("a.clock");
    int64_t second = FAILPOINT_JUMP("a.clock");
    int64_t third = FAILPOINT_JUMP("a.clock");

    return first == 0 && second == -1500000 && third == -1500000 && FAILPOINT_JUMP("b.clock") == 0
               ? 0
               : 1;
}

static void a_clock_jumps_and_stays_there(void **state)
{
    (void)state;
    assert_int_equal(run("a.clock=jump:-1500@2", jumps), 0);
}

static int waits(void)
{
    struct timespec begin;
    struct timespec end;

    (void)clock_gettime(CLOCK_MONOTONIC, &begin);
    FAILPOINT("a.place");
    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    int64_t ns = (end.tv_sec - begin.tv_sec) * 1000000000LL + end.tv_nsec - begin.tv_nsec;

    return ns >= 30000000 ? 0 : 1;
}

static void a_place_waits(void **state)
{
    (void)state;
    assert_int_equal(run("a.place=delay:30@1", waits), 0);
}

static int passes(void)
{
    FAILPOINT("a.place");
    FAILPOINT("a.place");
    return 7;
}

static void a_process_dies_in_its_place(void **state)
{
    (void)state;
    int killed = run("a.place=kill9@2", passes);
    int ended = run("a.place=kill9@3", passes);

    assert_true(WIFSIGNALED(killed) && WTERMSIG(killed) == SIGKILL);
    assert_true(WIFEXITED(ended) && WEXITSTATUS(ended) == 7);
}

static void end_with_nine(void)
{
    _exit(9);
}

/* The second passing is a child's. */
static int counts_with_children(void)
{
    int status = 0;

    failpoint_init(end_with_nine);
    FAILPOINT("a.place");
    pid_t pid = fork();

    if (pid == 0) {
        FAILPOINT("a.place");
        _exit(0);
    }
    (void)waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static void children_count_along_and_die_as_they_are_told(void **state)
{
    (void)state;
    int status = run("a.place=kill9@2", counts_with_children);

    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 9);
}

static void what_is_not_understood_is_not_passed_over(void **state)
{
    (void)state;
    const char *const wrong[] = {"a.place", "a.place=eio", "a.place=burn@1", "=eio@1", "a=eio@x"};

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        int status = run(wrong[i], passes);

        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_place_fails_at_one_passing),
        cmocka_unit_test(several_are_armed_at_one_time),
        cmocka_unit_test(a_size_is_cut_and_never_to_nothing),
        cmocka_unit_test(what_is_skipped_may_be_so_each_time),
        cmocka_unit_test(a_clock_jumps_and_stays_there),
        cmocka_unit_test(a_place_waits),
        cmocka_unit_test(a_process_dies_in_its_place),
        cmocka_unit_test(children_count_along_and_die_as_they_are_told),
        cmocka_unit_test(what_is_not_understood_is_not_passed_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
