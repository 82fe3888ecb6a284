/* A daemon is started, awaited and stopped, whatever it does. */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tools/cli/daemon.h"

#define PLENTY_MS 30000

static struct daemon start(const char *manner)
{
    const struct daemon_spec spec = {.name = "fake",
                                     .path = "tests/unit/cli/fake_daemon",
                                     .args = {"fake", manner},
                                     .log_fd = -1};
    struct daemon daemon = DAEMON_NONE("fake");
    struct err err;

    assert_int_equal(daemon_start(&spec, &daemon, &err), 0);
    assert_int_not_equal(daemon.pid, 0);
    return daemon;
}

static struct daemon start_ready(const char *manner)
{
    struct daemon daemon = start(manner);
    struct err err;

    assert_int_equal(daemon_await_ready(&daemon, -1, PLENTY_MS, &err), 0);
    return daemon;
}

static void it_is_stopped_when_asked(void **state)
{
    struct daemon daemon = start_ready("well");
    pid_t pid = daemon.pid;

    (void)state;
    assert_int_not_equal(getpgid(pid), getpgrp());
    assert_true(daemon_stop(&daemon, PLENTY_MS));
    assert_int_equal(daemon.pid, 0);
    assert_int_equal(kill(pid, 0), -1);
    assert_true(daemon_stop(&daemon, PLENTY_MS));
}

static void it_inherits_nothing(void **state)
{
    int fd = dup2(STDERR_FILENO, 57);

    (void)state;
    assert_int_equal(fd, 57);
    struct daemon daemon = start_ready("alone");
    (void)close(fd);
    assert_true(daemon_stop(&daemon, PLENTY_MS));
}

static void one_that_does_not_stop_is_killed(void **state)
{
    struct daemon daemon = start_ready("deaf");
    pid_t pid = daemon.pid;

    (void)state;
    assert_false(daemon_stop(&daemon, 50));
    assert_int_equal(kill(pid, 0), -1);
}

static void a_bad_end_is_told(void **state)
{
    struct daemon daemon = start_ready("badly");

    (void)state;
    assert_false(daemon_stop(&daemon, PLENTY_MS));
}

static void death_before_readiness_is_told(void **state)
{
    struct daemon daemon = start("dead");
    struct err err;

    (void)state;
    assert_int_equal(daemon_await_ready(&daemon, -1, PLENTY_MS, &err), -ECHILD);
    assert_string_equal(err.message, "fake ended before it was ready: exit code 9");
    assert_int_equal(daemon.pid, 0);
}

static void a_missing_binary_is_told(void **state)
{
    const struct daemon_spec spec = {.name = "x", .path = "/nonexistent/x", .args = {"x"}};
    struct daemon daemon = DAEMON_NONE("fake");
    struct err err;

    (void)state;
    assert_int_equal(daemon_start(&spec, &daemon, &err), -ENOENT);
    assert_non_null(strstr(err.message, "/nonexistent/x"));
}

static void a_signal_ends_the_wait(void **state)
{
    struct daemon daemon = start("well");
    struct err err;
    int signals = eventfd(1, EFD_CLOEXEC);

    (void)state;
    assert_int_equal(daemon_await_ready(&daemon, signals, PLENTY_MS, &err), -EINTR);
    (void)close(signals);
    (void)daemon_stop(&daemon, PLENTY_MS);
}

/* Whoever it is tied to may be killed: nobody would look after it from then on. */
static void it_ends_with_who_started_it(void **state)
{
    int pids[2];
    pid_t daemon_pid;

    (void)state;
    assert_int_equal(pipe(pids), 0);
    pid_t starter = fork();
    assert_true(starter >= 0);
    if (!starter) {
        struct daemon daemon = start_ready("deaf");

        (void)!write(pids[1], &daemon.pid, sizeof(daemon.pid));
        (void)pause();
    }
    assert_int_equal(read(pids[0], &daemon_pid, sizeof(daemon_pid)), sizeof(daemon_pid));
    struct pollfd end = {.fd = pidfd_open(daemon_pid, 0), .events = POLLIN};
    assert_true(end.fd >= 0);
    assert_int_equal(poll(&end, 1, 0), 0);
    assert_int_equal(kill(starter, SIGKILL), 0);
    assert_int_equal(poll(&end, 1, PLENTY_MS), 1);
    assert_int_equal(waitpid(starter, NULL, 0), starter);
    (void)close(end.fd);
    (void)close(pids[0]);
    (void)close(pids[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_stopped_when_asked),
        cmocka_unit_test(it_inherits_nothing),
        cmocka_unit_test(one_that_does_not_stop_is_killed),
        cmocka_unit_test(a_bad_end_is_told),
        cmocka_unit_test(death_before_readiness_is_told),
        cmocka_unit_test(a_missing_binary_is_told),
        cmocka_unit_test(a_signal_ends_the_wait),
        cmocka_unit_test(it_ends_with_who_started_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
