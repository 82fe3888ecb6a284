/* Limits of a sandbox hold, and whatever it does it can be killed at once. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/jail/box.h"

static const struct sd_limits SMALL = JAIL_LIMITS(64, 16, 1000, 48);

static int create_small_box(void **state)
{
    jail_create_with(*state, &SMALL, &box);
    return 0;
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static struct sd_reply kill_quickly(void **state)
{
    int64_t start = now_ms();
    struct sd_reply reply = jail_kill(*state, &box);
    assert_int_equal(reply.error, 0);
    assert_in_range(now_ms() - start, 0, fixture_kill_limit_ms());
    return reply;
}

static void memory_is_bounded_and_its_end_reported(void **state)
{
    jail_shell(&box, "perl -e '$x = \"a\" x 200_000_000; print length $x'", &run);
    assert_true(WIFSIGNALED(run.wait_status) || WEXITSTATUS(run.wait_status) != 0);
    assert_string_equal(run.out, "");
    jail_shell(&box, "echo still here", &run);
    assert_string_equal(run.out, "still here\n");
    struct sd_reply reply = kill_quickly(state);
    assert_true(reply.oom_kills >= 1);
    assert_true(reply.memory_peak_bytes <= SMALL.memory_bytes);
}

static void processes_are_bounded(void **state)
{
    jail_shell(&box, "for i in $(seq 100); do sleep 100 & done; wait", &run);
    assert_non_null(strstr(run.err, "fork"));
    (void)kill_quickly(state);
}

static void fork_bomb_is_killed_at_once(void **state)
{
    const char *const argv[] = {"sh", "-c", "f() { f | f & f; }; f", NULL};
    int fds[3];
    struct nest_reply reply = jail_spawn(&box, NEST_USER, "/", argv, fds);
    assert_int_equal(reply.error, 0);
    struct timespec pause = {.tv_nsec =
                                 300000000}; /* lets it unfold: the point is what comes then */
    (void)nanosleep(&pause, NULL);
    (void)kill_quickly(state);
    for (int i = 0; i < 3; i++) {
        close(fds[i]);
    }
}

static void disk_and_inodes_are_bounded(void **state)
{
    jail_shell(&box,
               "dd if=/dev/zero of=/tmp/x bs=1M count=100 2>&1 | grep -c 'No space'; rm /tmp/x;"
               "i=$(perl -e 'while (open(my $f, q(>), \"/tmp/f$i\")) { $i++ } print $i'); "
               "[ $i -lt 5000 ] && echo bounded; dd if=/dev/zero of=/dev/shm/x bs=1M count=100 "
               "2>&1 | grep -c 'No space'",
               &run);
    assert_string_equal(run.out, "1\nbounded\n1\n");
    (void)kill_quickly(state);
}

static void cpu_is_bounded(void **state)
{
    int64_t start = now_ms();
    /* Two busy processes on a limit of one CPU. */
    jail_shell(&box,
               "timeout 1 sh -c 'while :; do :; done' & timeout 1 sh -c 'while :; do :; done'; "
               "wait",
               &run);
    uint64_t spent_ms = (uint64_t)(now_ms() - start);
    assert_true(run.cpu_usec / 1000 <= spent_ms * 12 / 10 + 100);
    (void)kill_quickly(state);
}

static void open_files_and_ptys_are_bounded(void **state)
{
    jail_shell(&box, "ulimit -n; ulimit -Hn; ulimit -c", &run);
    assert_string_equal(run.out, "4096\n4096\n0\n");
    jail_shell(&box,
               "perl -e 'while (open(my $f, \"+<\", \"/dev/ptmx\")) { push @f, $f } "
               "print scalar @f'",
               &run);
    assert_string_equal(run.out, "64");
    (void)kill_quickly(state);
}

static void every_limit_has_its_own_value(void **state)
{
    struct sd_limits tight = SMALL;
    tight.disk_inodes = 300;
    tight.max_open_files = 100;
    tight.max_ptys = 3;
    assert_int_equal(jail_kill(*state, &box).error, 0);
    jail_create_with(*state, &tight, &box);
    jail_shell(&box,
               "ulimit -n; perl -e 'while (open(my $f, q(+<), q(/dev/ptmx))) { push @f, $f } "
               "print scalar @f, qq(\n)'; "
               "i=$(perl -e 'while (open(my $f, q(>), \"/tmp/f$i\")) { $i++ } print $i'); "
               "[ $i -gt 200 ] && [ $i -lt 300 ] && echo inodes",
               &run);
    assert_string_equal(run.out, "100\n3\ninodes\n");
    (void)kill_quickly(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup(name, create_small_box)
        TEST(memory_is_bounded_and_its_end_reported),
        TEST(processes_are_bounded),
        TEST(fork_bomb_is_killed_at_once),
        TEST(disk_and_inodes_are_bounded),
        TEST(cpu_is_bounded),
        TEST(open_files_and_ptys_are_bounded),
        TEST(every_limit_has_its_own_value),
    };
    return fixture_main(tests);
}
