/*
 * A terminal in the hands of an attacker: each attack of terminal_cases.h has its outcome, and what
 * is done to the process that carries its bytes ends that terminal and nothing else.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fcntl.h>

#include "tests/jail/box.h"
#include "tests/jail/outcome.h"
#include "tests/jail/posture_check.h"

static const struct {
    const char *name;
    const char *user;
    const char *root;
} CASES[] = {
#define CASE(name, attack, user, root) {name, user, root},
#include "tests/jail/terminal_cases.h"
#undef CASE
};

static char out[1 << 20];

struct terminal {
    uint64_t command;
    int fds[3];
};

static void install_probe(void)
{
    static char data[8 << 20];
    const char *path = getenv("CROWNEST_TEST_HOSTILE_PROBE");
    int fd = open(path != NULL ? path : "tests/jail/hostile_probe", O_RDONLY | O_CLOEXEC);
    ssize_t size = read(fd, data, sizeof(data));
    assert_in_range(size, 1, sizeof(data) - 1);
    assert_int_equal(jail_write(&box, "probe", 0, data, (size_t)size).error, 0);
    jail_shell(&box, "chmod 755 probe", &run);
    close(fd);
}

static struct nest_reply try_start(uint32_t user, const char *const argv[],
                                   struct terminal *ret_terminal)
{
    const struct nest_spawn options = {.user = user,
                                       .flags = NEST_TERMINAL | NEST_KEEP_INPUT,
                                       .rows = 24,
                                       .columns = 80,
                                       .cwd = "/workspace"};
    struct nest_reply reply = jail_spawn_with(&box, &options, argv, ret_terminal->fds);
    ret_terminal->command = reply.command;
    return reply;
}

static void start(uint32_t user, const char *line, struct terminal *ret_terminal)
{
    const char *const argv[] = {"sh", "-c", line, NULL};
    assert_int_equal(try_start(user, argv, ret_terminal).error, 0);
}

/* Reads until the text comes, or with NULL to the end. */
static void await_output(const struct terminal *t, const char *text)
{
    size_t length = 0;
    ssize_t got = 1;
    memset(out, 0, sizeof(out));
    while (got > 0 && (text == NULL || strstr(out, text) == NULL)) {
        struct pollfd wait = {.fd = t->fds[0], .events = POLLIN};
        assert_int_equal(poll(&wait, 1, JAIL_TIMEOUT_MS), 1);
        got = read(t->fds[0], out + length, sizeof(out) - 1 - length);
        assert_true(got >= 0);
        length += (size_t)got;
    }
    if (text != NULL) {
        assert_non_null(strstr(out, text));
    }
}

static void close_ends(const struct terminal *t)
{
    for (int i = 0; i < 3; i++) {
        close(t->fds[i]);
    }
}

static void finish(const struct terminal *t)
{
    await_output(t, NULL);
    jail_wait(&box, t->command, &run);
    close_ends(t);
}

static void check_attacks(uint32_t user)
{
    struct terminal t;
    const char *const argv[] = {"/workspace/probe", "terminal", NULL};
    install_probe();
    assert_int_equal(try_start(user, argv, &t).error, 0);
    finish(&t);
    assert_int_equal(run.wait_status, 0);
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        outcome_check(out, CASES[i].name, user == NEST_USER ? CASES[i].user : CASES[i].root);
    }
}

static void attacks_of_the_user_have_their_outcome(void **state)
{
    (void)state;
    check_attacks(NEST_USER);
}

static void attacks_of_root_have_their_outcome(void **state)
{
    (void)state;
    check_attacks(NEST_ROOT);
}

/* The relays are those with init's id that hold a terminal; root inside sees their numbers. */
#define EACH_HELPER                                                                                \
    "for s in /proc/[0-9]*; do p=${s#/proc/}; grep -qs '^Uid:.65533' $s/status && "                \
    "[ $p != 1 ] && "

/* Both have ended, in either order; t's status is kept. */
static void await_both(const struct terminal *t, uint64_t other)
{
    for (int i = 0; i < 2; i++) {
        struct nest_reply reply;
        int none[3];
        (void)jail_nest_receive(&box, &reply, none);
        assert_int_equal(reply.op, NEST_EXITED);
        assert_true(reply.command == t->command || reply.command == other);
        if (reply.command == t->command) {
            run.wait_status = reply.wait_status;
        }
    }
    jail_ack(&box, t->command);
    jail_ack(&box, other);
}

/* Its terminal has hung up, so a command that heeds that ends; the next one has another. */
static void check_harm_to_relays(const char *line)
{
    const char *const argv[] = {"sh", "-c", line, NULL};
    struct terminal t;
    int fds[3];
    start(NEST_USER, "echo up; cat; sleep 1000", &t);
    await_output(&t, "up");
    struct nest_reply root = jail_spawn(&box, NEST_ROOT, "/", argv, fds);
    assert_int_equal(root.error, 0);
    await_output(&t, NULL);
    await_both(&t, root.command);
    assert_true(WIFSIGNALED(run.wait_status));
    close_ends(&t);
    for (int i = 0; i < 3; i++) {
        close(fds[i]);
    }
    start(NEST_USER, "echo again", &t);
    finish(&t);
    assert_string_equal(out, "again\r\n");
}

static void killing_the_relay_ends_its_command(void **state)
{
    (void)state;
    check_harm_to_relays(EACH_HELPER "kill -KILL $p; done");
}

static void stopping_the_relay_ends_its_command(void **state)
{
    (void)state;
    check_harm_to_relays(EACH_HELPER "kill -STOP $p; done");
}

/* Whatever of it is stopped, and whenever: its end is told. */
static void a_command_ends_whatever_is_stopped(void **state)
{
    const char *const stopper[] = {
        "sh", "-c", "echo up; while :; do " EACH_HELPER "kill -STOP $p; done; done", NULL};
    const char *const argv[] = {"echo", "out", NULL};
    int fds[3];
    char up[4] = {0};
    (void)state;
    assert_int_equal(jail_spawn(&box, NEST_ROOT, "/", stopper, fds).error, 0);
    assert_int_equal(read(fds[0], up, 3), 3);
    for (int i = 0; i < 10; i++) {
        struct terminal t;
        if (try_start(NEST_USER, argv, &t).error == 0) {
            finish(&t);
        }
    }
    for (int i = 0; i < 3; i++) {
        close(fds[i]);
    }
}

/* As many as the sandbox may have, all in one command's hands: others go without, and say so. */
static void without_terminals_other_commands_go_on(void **state)
{
    struct sd_limits few = JAIL_LIMITS(64, 16, 1000, 48);
    const char *const argv[] = {"true", NULL};
    struct terminal t;
    int fds[3];
    few.max_ptys = 3;
    assert_int_equal(jail_kill(*state, &box).error, 0);
    jail_create_with(*state, &few, &box);
    const char *const hoard[] = {"perl", "-e",
                                 "while (open(my $f, '+<', '/dev/ptmx')) { push @f, $f } $| = 1; "
                                 "print scalar @f; <STDIN>",
                                 NULL};
    uint64_t command = jail_spawn(&box, NEST_USER, "/", hoard, fds).command;
    char said = 0;
    assert_int_equal(read(fds[0], &said, 1), 1);
    assert_int_equal(said, '3');
    struct nest_reply reply = try_start(NEST_USER, argv, &t);
    assert_int_equal(reply.error, -ENOSPC);
    assert_int_equal(reply.step, NEST_STEP_INIT);
    jail_shell(&box, "echo lives", &run);
    assert_string_equal(run.out, "lives\n");
    jail_end_input(&box, command, fds);
    jail_wait(&box, command, &run);
    start(NEST_USER, "echo again", &t);
    finish(&t);
    assert_string_equal(out, "again\r\n");
}

/* Within a sandbox, whoever has the same id may write there; another's terminal stays its own. */
static void another_commands_terminal_is_a_file_of_its_user(void **state)
{
    struct terminal t;
    (void)state;
    start(NEST_ROOT, "echo up; read line", &t);
    await_output(&t, "up");
    jail_shell(&box, "echo x > /dev/pts/0", &run);
    assert_non_null(strstr(run.err, "Permission denied"));
    assert_int_equal(jail_input(&box, t.command, 0, "\n", 1, false).error, 0);
    finish(&t);
    start(NEST_USER, "echo up; read line; tty", &t);
    await_output(&t, "up");
    jail_shell(&box, "echo from another > /dev/pts/0; setsid -c sh -c ': < /dev/tty' < /dev/pts/0",
               &run);
    assert_non_null(strstr(run.err, "Operation not permitted"));
    assert_int_equal(jail_input(&box, t.command, 0, "\n", 1, false).error, 0);
    finish(&t);
    assert_non_null(strstr(out, "from another\r\n"));
    assert_non_null(strstr(out, "/dev/pts/0\r\n"));
}

/* Neither reads what the other writes. */
static void a_flood_both_ways_is_bounded(void **state)
{
    static char data[NEST_INPUT_MAX];
    struct terminal t;
    uint64_t offset = 0;
    (void)state;
    start(NEST_USER, "stty raw -echo; echo up; exec yes", &t);
    await_output(&t, "up");
    memset(data, 'x', sizeof(data));
    for (int stuck = 0; stuck < 3;) {
        struct nest_reply reply = jail_input(&box, t.command, offset, data, sizeof(data), false);
        assert_int_equal(reply.error, 0);
        stuck = reply.size_bytes == offset ? stuck + 1 : 0;
        offset = reply.size_bytes;
        /* A pipe, the relay, and the terminal hold some; nobody holds more. */
        assert_in_range(offset, 0, 1 << 20);
    }
    jail_shell(&box, "echo lives", &run);
    assert_string_equal(run.out, "lives\n");
    pid_t relay = posture_relay_pid(&box);
    char value[64];
    posture_find_line(posture_read_proc(relay, "status"), "VmRSS", value, sizeof(value));
    assert_in_range(strtol(value, NULL, 10), 1, 4096);
    close_ends(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, create_box, kill_box)
        TEST(attacks_of_the_user_have_their_outcome),
        TEST(attacks_of_root_have_their_outcome),
        TEST(killing_the_relay_ends_its_command),
        TEST(stopping_the_relay_ends_its_command),
        TEST(a_command_ends_whatever_is_stopped),
        TEST(without_terminals_other_commands_go_on),
        TEST(another_commands_terminal_is_a_file_of_its_user),
        TEST(a_flood_both_ways_is_bounded),
    };
    return fixture_main(tests);
}
