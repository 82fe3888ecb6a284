/* A sandbox depends on no process of ours: whoever comes back finds it, its output and its exits.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/jail/box.h"
#include "tests/jail/group_file.h"
#include "tests/jail/posture_check.h"

static int fds[3];

static uint64_t start(const char *line)
{
    const char *const argv[] = {"sh", "-c", line, NULL};
    struct nest_reply reply = jail_spawn(&box, NEST_USER, "/workspace", argv, fds);
    assert_int_equal(reply.error, 0);
    return reply.command;
}

/* As when a server dies. */
static void lose_server(void)
{
    close(box.control);
    box.control = -1;
    for (int i = 0; i < 3; i++) {
        close(fds[i]);
    }
}

static void assert_output(const char *expected)
{
    char out[256] = {0};
    size_t length = 0;
    while (length < strlen(expected)) {
        struct pollfd wait = {.fd = fds[0], .events = POLLIN};
        assert_int_equal(poll(&wait, 1, JAIL_TIMEOUT_MS), 1);
        ssize_t got = read(fds[0], out + length, sizeof(out) - 1 - length);
        assert_true(got > 0);
        length += (size_t)got;
    }
    assert_string_equal(out, expected);
}

static void a_command_outlives_its_server(void **state)
{
    uint64_t command = start("echo one; read line; echo $line; exit 5");
    assert_output("one\n");
    assert_int_equal(jail_input(&box, command, 0, "tw", 2, false).error, 0);
    lose_server();
    jail_adopt(*state, &box);
    struct nest_reply reply = jail_attach(&box, command, fds);
    assert_int_equal(reply.error, 0);
    assert_int_equal(reply.size_bytes, 2);
    jail_hello(&box);
    /* The write is repeated, and counts once. */
    assert_int_equal(jail_input(&box, command, 0, "two\n", 4, false).error, 0);
    assert_output("two\n");
    jail_wait(&box, command, &run);
    assert_int_equal(WEXITSTATUS(run.wait_status), 5);
}

static void output_and_exit_wait_for_a_server(void **state)
{
    uint64_t command = start("sleep 0.2; echo late; exit 6");
    pid_t pid = posture_command_pid(&box);
    lose_server();
    /* It ends while nobody is there to hear. */
    while (kill(pid, 0) == 0) {
        (void)poll(NULL, 0, 10);
    }
    jail_adopt(*state, &box);
    assert_int_equal(jail_attach(&box, command, fds).error, 0);
    assert_output("late\n");
    jail_hello(&box);
    jail_wait(&box, command, &run);
    assert_int_equal(WEXITSTATUS(run.wait_status), 6);
}

static void unacknowledged_exits_are_told_again(void **state)
{
    uint64_t command = start("exit 9");
    struct nest_reply reply;
    int none[3];
    (void)jail_nest_receive(&box, &reply, none);
    assert_int_equal(reply.op, NEST_EXITED);
    lose_server();
    jail_adopt(*state, &box);
    jail_hello(&box);
    jail_wait(&box, command, &run);
    assert_int_equal(WEXITSTATUS(run.wait_status), 9);
    assert_int_equal(jail_attach(&box, command, fds).error, -ESRCH);
}

static void a_peer_hears_of_no_exit_before_its_hello(void **state)
{
    uint64_t command = start("exit 0");
    struct nest_reply reply;
    int none[3];
    (void)jail_nest_receive(&box, &reply, none);
    jail_adopt(*state, &box);
    /* Its first message is the answer to its first question. */
    reply = jail_attach(&box, command, fds);
    assert_int_equal(reply.op, NEST_ATTACH);
    jail_hello(&box);
    jail_wait(&box, command, &run);
}

static void a_sandbox_outlives_sandboxd(void **state)
{
    uint64_t command = start("echo one; sleep 0.3; echo two; exit 4");
    jail_restart(*state);
    jail_adopt(*state, &box);
    assert_int_equal(jail_attach(&box, command, fds).error, 0);
    jail_hello(&box);
    assert_output("one\ntwo\n");
    jail_wait(&box, command, &run);
    assert_int_equal(WEXITSTATUS(run.wait_status), 4);
    jail_shell(&box, "echo and takes commands", &run);
    assert_string_equal(run.out, "and takes commands\n");
}

static void one_that_died_meanwhile_is_known_as_dead(void **state)
{
    struct jail_daemon *daemon = *state;
    struct jail_box other;
    jail_create(daemon, &other);
    pid_t init = posture_init_pid(&other);
    assert_int_equal(kill(daemon->pid, SIGSTOP), 0);
    assert_int_equal(kill(init, SIGKILL), 0);
    jail_restart(daemon);
    struct sd_request request = jail_request(daemon, SD_INVENTORY, NULL);
    struct sd_reply reply = jail_ask(daemon, &request, NULL);
    unsigned int dead = 0;
    int none[SD_FD_COUNT];
    while (reply.sandbox[0] != '\0') {
        dead += memcmp(reply.sandbox, other.id, SD_ID_SIZE) == 0 && reply.state == SD_STATE_DEAD;
        assert_true(jail_receive(daemon->socket, &reply, none));
    }
    assert_int_equal(dead, 1);
    assert_int_equal(jail_kill(daemon, &other).error, 0);
}

static void a_frozen_sandbox_is_still_frozen(void **state)
{
    struct jail_daemon *daemon = *state;
    struct sd_request freeze = jail_request(daemon, SD_FREEZE, box.id);
    assert_int_equal(jail_ask(daemon, &freeze, NULL).error, 0);
    jail_restart(daemon);
    struct sd_request thaw = jail_request(daemon, SD_THAW, box.id);
    assert_int_equal(jail_ask(daemon, &thaw, NULL).error, 0);
    jail_adopt(daemon, &box);
    jail_hello(&box);
    jail_shell(&box, "echo thawed", &run);
    assert_string_equal(run.out, "thawed\n");
}

static void one_that_was_busy_may_be_calm(void **state)
{
    struct jail_daemon *daemon = *state;
    static const struct sd_limits half = JAIL_LIMITS(96, 16, 500, 77);
    jail_create_with(daemon, &half, &box);
    uint64_t command = start("perl -e '1 while 1' & read line");
    assert_true(group_await(box.id, "/cpu", "cpu.idle", "1") ||
                group_await(box.id, "", "cpu.idle", "1"));
    assert_int_equal(kill(daemon->pid, SIGSTOP), 0);
    jail_end_input(&box, command, fds);
    jail_wait(&box, command, &run);
    jail_restart(daemon);
    assert_true(group_await(box.id, "/cpu", "cpu.shares", "514") ||
                group_await(box.id, "", "cpu.weight", "51"));
    assert_int_equal(jail_kill(daemon, &box).error, 0);
}

static void half_built_ones_are_removed(void **state)
{
    enum { COUNT = 24 };
    struct jail_daemon *daemon = *state;
    static char ids[COUNT][SD_ID_SIZE];
    for (int i = 0; i < COUNT; i++) {
        struct sd_request request;
        jail_fill_create(daemon, &request);
        memcpy(ids[i], request.sandbox, SD_ID_SIZE);
        jail_send(daemon->socket, &request);
    }
    jail_restart(daemon);
    /* Each is either whole or gone; a kill waits for one that is just being removed. */
    for (int i = 0; i < COUNT; i++) {
        struct sd_reply reply;
        do {
            struct sd_request request = jail_request(daemon, SD_KILL, ids[i]);
            reply = jail_ask(daemon, &request, NULL);
        } while (reply.error == -EBUSY);
        assert_true(reply.error == 0 || reply.error == -ENOENT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, create_box, kill_box)
        TEST(a_command_outlives_its_server),
        TEST(output_and_exit_wait_for_a_server),
        TEST(unacknowledged_exits_are_told_again),
        TEST(a_peer_hears_of_no_exit_before_its_hello),
        TEST(a_sandbox_outlives_sandboxd),
        TEST(one_that_died_meanwhile_is_known_as_dead),
        TEST(a_frozen_sandbox_is_still_frozen),
        TEST(half_built_ones_are_removed),
        cmocka_unit_test(one_that_was_busy_may_be_calm),
    };
    return fixture_main(tests);
}
