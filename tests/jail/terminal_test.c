/* Commands with a terminal: what they see of it, and what comes out of it. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/jail/box.h"

static int fds[3];
static char out[1 << 20];
static size_t out_bytes;

static uint64_t start(uint32_t user, const char *line)
{
    const char *const argv[] = {"sh", "-c", line, NULL};
    const struct nest_spawn options = {.user = user,
                                       .flags = NEST_TERMINAL | NEST_KEEP_INPUT,
                                       .rows = 40,
                                       .columns = 120,
                                       .cwd = "/workspace"};
    struct nest_reply reply = jail_spawn_with(&box, &options, argv, fds);
    assert_int_equal(reply.error, 0);
    out_bytes = 0;
    memset(out, 0, sizeof(out));
    return reply.command;
}

/* Returns false at the end of the output. */
static bool read_more(void)
{
    struct pollfd wait = {.fd = fds[0], .events = POLLIN};
    assert_int_equal(poll(&wait, 1, JAIL_TIMEOUT_MS), 1);
    ssize_t got = read(fds[0], out + out_bytes, sizeof(out) - 1 - out_bytes);
    assert_true(got >= 0);
    out_bytes += (size_t)got;
    return got > 0;
}

static void await_output(const char *text)
{
    while (strstr(out, text) == NULL) {
        assert_true(read_more());
    }
}

static void finish(uint64_t command)
{
    close(fds[2]);
    while (read_more()) {
    }
    jail_wait(&box, command, &run);
    close(fds[0]);
    close(fds[1]);
}

static void type(uint64_t command, uint64_t offset, const char *text)
{
    struct nest_reply reply = jail_input(&box, command, offset, text, strlen(text), false);
    assert_int_equal(reply.error, 0);
    assert_int_equal(reply.size_bytes, offset + strlen(text));
}

static void a_command_sees_a_terminal(void **state)
{
    uint64_t command = start(NEST_USER, "tty; stty size; test -t 0 && test -t 1 && test -t 2 && "
                                        "echo all; : > /dev/tty && echo controlling; exit 3");
    (void)state;
    finish(command);
    assert_string_equal(out, "/dev/pts/0\r\n40 120\r\nall\r\ncontrolling\r\n");
    assert_int_equal(WEXITSTATUS(run.wait_status), 3);
}

static void root_has_one_too(void **state)
{
    uint64_t command = start(NEST_ROOT, "tty; stat -c %u /dev/pts/0");
    (void)state;
    finish(command);
    assert_string_equal(out, "/dev/pts/0\r\n0\r\n");
}

static void typing_is_echoed_and_interrupts(void **state)
{
    uint64_t command = start(NEST_USER, "trap 'echo caught; exit 7' INT; echo ready; read line; "
                                        "echo \"got $line\"; while :; do sleep 0.05; done");
    (void)state;
    await_output("ready");
    type(command, 0, "words\n");
    await_output("words\r\ngot words\r\n");
    type(command, 6, "\003");
    finish(command);
    assert_non_null(strstr(out, "caught"));
    assert_int_equal(WEXITSTATUS(run.wait_status), 7);
}

static void the_end_of_input_is_an_end_of_file(void **state)
{
    uint64_t command = start(NEST_USER, "cat; echo over");
    (void)state;
    assert_int_equal(jail_input(&box, command, 0, "line\n", 5, true).error, 0);
    finish(command);
    assert_string_equal(out, "line\r\nline\r\nover\r\n");
}

static void a_new_size_is_told(void **state)
{
    uint64_t command = start(NEST_USER, "trap 'stty size; exit' WINCH; echo ready; "
                                        "while :; do sleep 0.05; done");
    struct nest_request request = {
        .op = NEST_RESIZE, .command = command, .terminal = {.rows = 50, .columns = 132}};
    struct nest_reply reply;
    int none[3];
    (void)state;
    await_output("ready");
    jail_nest_send(&box, &request, NEST_REQUEST_SIZE(terminal), -1);
    (void)jail_nest_receive(&box, &reply, none);
    assert_int_equal(reply.error, 0);
    finish(command);
    assert_string_equal(out, "ready\r\n50 132\r\n");
}

static void what_has_no_terminal_has_no_size(void **state)
{
    const char *const argv[] = {"cat", NULL};
    struct nest_reply spawned = jail_spawn(&box, NEST_USER, "/", argv, fds);
    struct nest_request request = {.op = NEST_RESIZE, .command = spawned.command};
    struct nest_reply reply;
    int none[3];
    (void)state;
    jail_nest_send(&box, &request, NEST_REQUEST_SIZE(terminal), -1);
    (void)jail_nest_receive(&box, &reply, none);
    assert_int_equal(reply.error, -ENOTTY);
    assert_int_equal(jail_input(&box, spawned.command, 0, "", 0, true).error, 0);
    finish(spawned.command);
}

/* More than the terminal and the pipe hold, all there when the end is heard of. */
static void output_is_whole_at_the_end(void **state)
{
    uint64_t command = start(NEST_USER, "stty -opost; seq 100000");
    (void)state;
    finish(command);
    assert_int_equal(out_bytes, 588895);
    assert_string_equal(out + out_bytes - 7, "100000\n");
}

static void a_daemon_on_the_terminal_ends_with_its_command(void **state)
{
    uint64_t command = start(NEST_USER, "(trap '' HUP; setsid sleep 1000) & echo started");
    (void)state;
    finish(command);
    assert_string_equal(out, "started\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, create_box, kill_box)
        TEST(a_command_sees_a_terminal),
        TEST(root_has_one_too),
        TEST(typing_is_echoed_and_interrupts),
        TEST(the_end_of_input_is_an_end_of_file),
        TEST(a_new_size_is_told),
        TEST(what_has_no_terminal_has_no_size),
        TEST(output_is_whole_at_the_end),
        TEST(a_daemon_on_the_terminal_ends_with_its_command),
    };
    return fixture_main(tests);
}
