/* Our terminal is put back however the process ends, and while it is stopped. */
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <utmp.h>

#include <cmocka.h>

#include "tools/cli/interrupt.h"
#include "tools/cli/local_terminal.h"

/* A process with a terminal of its own, which tells by a byte that it is raw. */
struct child {
    pid_t pid;
    int ours; /* the terminal's other end */
    int said;
    struct termios before;
};

static struct child start(void (*end)(void))
{
    struct child child;
    int theirs;
    int said[2];

    assert_int_equal(openpty(&child.ours, &theirs, NULL, NULL, NULL), 0);
    assert_int_equal(pipe(said), 0);
    assert_int_equal(tcgetattr(theirs, &child.before), 0);
    child.pid = fork();
    assert_true(child.pid >= 0);
    if (!child.pid) {
        struct rlimit none = {0};

        (void)setrlimit(RLIMIT_CORE, &none);
        if (login_tty(theirs) || local_terminal_raw() || !local_terminal_is_raw())
            _exit(99);
        (void)!write(said[1], "r", 1);
        end();
        _exit(98);
    }
    (void)close(theirs);
    (void)close(said[1]);
    child.said = said[0];
    char byte;
    assert_int_equal(read(child.said, &byte, 1), 1);
    return child;
}

static bool is_as_before(const struct child *child)
{
    struct termios now;

    assert_int_equal(tcgetattr(child->ours, &now), 0);
    return now.c_lflag == child->before.c_lflag && now.c_iflag == child->before.c_iflag &&
           now.c_oflag == child->before.c_oflag;
}

static int end_of(struct child *child)
{
    int status;

    assert_int_equal(waitpid(child->pid, &status, 0), child->pid);
    assert_true(is_as_before(child));
    (void)close(child->ours);
    (void)close(child->said);
    return status;
}

static void by_return(void)
{
    local_terminal_restore();
    _exit(local_terminal_is_raw() ? 97 : 3);
}

static void by_exit(void)
{
    exit(4);
}

static void by_segv(void)
{
    (void)raise(SIGSEGV);
}

static void nothing(void *context)
{
    (void)context;
    (void)pause();
}

static void by_second_signal(void)
{
    struct interrupt interrupt;

    if (interrupt_init(&interrupt, nothing, NULL))
        _exit(97);
    (void)kill(getpid(), SIGTERM);
    while (!atomic_load(&interrupt.received))
        ;
    (void)kill(getpid(), SIGTERM);
    (void)pause();
}

static void it_is_put_back_at_the_end(void **state)
{
    (void)state;
    struct child child = start(by_return);

    assert_int_equal(WEXITSTATUS(end_of(&child)), 3);
    child = start(by_exit);
    assert_int_equal(WEXITSTATUS(end_of(&child)), 4);
}

static void it_is_put_back_on_fatal_signals(void **state)
{
    (void)state;
    struct child child = start(abort);

    assert_int_equal(WTERMSIG(end_of(&child)), SIGABRT);
    child = start(by_segv);
    assert_int_equal(WTERMSIG(end_of(&child)), SIGSEGV);
}

static void it_is_put_back_when_a_second_signal_ends_all(void **state)
{
    (void)state;
    struct child child = start(by_second_signal);

    assert_int_equal(WEXITSTATUS(end_of(&child)), 128 + SIGTERM);
}

static void wait_for_keys(void)
{
    char byte;

    (void)!read(STDIN_FILENO, &byte, 1);
    exit(5);
}

static void it_is_put_back_while_the_process_is_stopped(void **state)
{
    int status;

    (void)state;
    struct child child = start(wait_for_keys);
    assert_false(is_as_before(&child));
    assert_int_equal(kill(child.pid, SIGTSTP), 0);
    assert_int_equal(waitpid(child.pid, &status, WUNTRACED), child.pid);
    assert_true(WIFSTOPPED(status));
    assert_true(is_as_before(&child));
    assert_int_equal(kill(child.pid, SIGCONT), 0);
    /* It is raw again: a key is read without a newline behind it. */
    while (is_as_before(&child))
        (void)poll(NULL, 0, 1);
    assert_int_equal(write(child.ours, "x", 1), 1);
    assert_int_equal(WEXITSTATUS(end_of(&child)), 5);
}

static void tell_size(void)
{
    uint32_t rows = 0;
    uint32_t columns = 0;

    (void)local_terminal_size(&rows, &columns);
    exit((int)(rows + columns));
}

static void without_a_size_there_is_none(void **state)
{
    (void)state;
    struct child child = start(tell_size);

    assert_int_equal(WEXITSTATUS(end_of(&child)), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_put_back_at_the_end),
        cmocka_unit_test(it_is_put_back_on_fatal_signals),
        cmocka_unit_test(it_is_put_back_when_a_second_signal_ends_all),
        cmocka_unit_test(it_is_put_back_while_the_process_is_stopped),
        cmocka_unit_test(without_a_size_there_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
