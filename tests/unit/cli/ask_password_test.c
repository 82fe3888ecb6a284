/* Passwords are asked for without echo, and the terminal is as before afterwards. */
#include <poll.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <utmp.h>

#include <cmocka.h>

#include "tools/cli/ask_password.h"

#define WAIT_MS 20000
#define SEEN_SIZE 512

static const struct command command = {.name = "test"};

/* A process with a terminal of its own that asks, and says what it was told. */
struct child {
    pid_t pid;
    int ours;
    int told;
    char seen[SEEN_SIZE]; /* on the terminal */
    size_t seen_size;
    struct termios before;
};

static struct child start(bool twice)
{
    struct child child = {0};
    int theirs;
    int told[2];

    assert_int_equal(openpty(&child.ours, &theirs, NULL, NULL, NULL), 0);
    assert_int_equal(pipe(told), 0);
    assert_int_equal(tcgetattr(theirs, &child.before), 0);
    child.pid = fork();
    assert_true(child.pid >= 0);
    if (!child.pid) {
        char password[ASK_PASSWORD_SIZE];

        if (login_tty(theirs) || ask_password(&command, false, twice, password) < 0)
            _exit(1);
        (void)!write(told[1], password, strlen(password));
        _exit(0);
    }
    (void)close(theirs);
    (void)close(told[1]);
    child.told = told[0];
    return child;
}

/* Reads the terminal until the text stands there. */
static void await_text(struct child *child, const char *text)
{
    struct pollfd ready = {.fd = child->ours, .events = POLLIN};

    while (!memmem(child->seen, child->seen_size, text, strlen(text))) {
        assert_true(child->seen_size < SEEN_SIZE);
        assert_int_equal(poll(&ready, 1, WAIT_MS), 1);
        ssize_t got =
            read(child->ours, child->seen + child->seen_size, SEEN_SIZE - child->seen_size);

        assert_true(got > 0);
        child->seen_size += (size_t)got;
    }
}

static void type(const struct child *child, const char *text)
{
    assert_int_equal(write(child->ours, text, strlen(text)), strlen(text));
}

static int end_of(struct child *child, char *ret_told, size_t size)
{
    struct termios now;
    int status;

    assert_int_equal(waitpid(child->pid, &status, 0), child->pid);
    assert_int_equal(tcgetattr(child->ours, &now), 0);
    assert_int_equal(now.c_lflag, child->before.c_lflag);
    ssize_t got = read(child->told, ret_told, size - 1);

    ret_told[got > 0 ? got : 0] = '\0';
    (void)close(child->ours);
    (void)close(child->told);
    return status;
}

static void what_is_typed_is_not_shown(void **state)
{
    struct child child = start(false);
    char told[ASK_PASSWORD_SIZE];

    (void)state;
    await_text(&child, "Password: ");
    type(&child, "correct horse\n");
    await_text(&child, "\n");
    assert_int_equal(end_of(&child, told, sizeof(told)), 0);
    assert_string_equal(told, "correct horse");
    assert_null(memmem(child.seen, child.seen_size, "correct", 7));
}

static void two_that_differ_are_refused(void **state)
{
    struct child child = start(true);
    char told[ASK_PASSWORD_SIZE];

    (void)state;
    await_text(&child, "Password: ");
    type(&child, "correct horse\n");
    await_text(&child, "Again: ");
    type(&child, "correct hose\n");
    await_text(&child, "two different passwords");
    assert_int_equal(WEXITSTATUS(end_of(&child, told, sizeof(told))), 1);
    assert_string_equal(told, "");
}

static void an_interrupt_ends_it_with_the_echo_on(void **state)
{
    struct child child = start(false);
    char told[ASK_PASSWORD_SIZE];

    (void)state;
    await_text(&child, "Password: ");
    type(&child, "correct\x03");
    int status = end_of(&child, told, sizeof(told));

    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGINT);
}

static void a_first_line_comes_from_a_pipe(void **state)
{
    char password[ASK_PASSWORD_SIZE];
    char long_line[400];
    int pair[2];
    int before = dup(STDIN_FILENO);

    (void)state;
    assert_int_equal(pipe(pair), 0);
    assert_int_equal(dup2(pair[0], STDIN_FILENO), STDIN_FILENO);
    memset(long_line, 'x', sizeof(long_line));
    assert_int_equal(write(pair[1], "one\n", 4), 4);
    assert_int_equal(write(pair[1], long_line, sizeof(long_line)), sizeof(long_line));
    (void)close(pair[1]);
    assert_int_equal(ask_password(&command, true, true, password), 0);
    assert_string_equal(password, "one");
    /* One that is too long stays too long for the service to take. */
    assert_int_equal(ask_password(&command, true, true, password), 0);
    assert_int_equal(strlen(password), ASK_PASSWORD_SIZE - 1);
    assert_true(ask_password(&command, true, true, password) < 0);
    assert_int_equal(dup2(before, STDIN_FILENO), STDIN_FILENO);
    (void)close(pair[0]);
    (void)close(before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_typed_is_not_shown),
        cmocka_unit_test(two_that_differ_are_refused),
        cmocka_unit_test(an_interrupt_ends_it_with_the_echo_on),
        cmocka_unit_test(a_first_line_comes_from_a_pipe),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
