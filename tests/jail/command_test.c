/* Commands: what they are, what comes back, and that nothing of them stays. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/jail/box.h"

#define LOOKS 200

static void exit_code_comes_back(void **state)
{
    (void)state;
    jail_shell(&box, "exit 42", &run);
    assert_int_equal(run.error, 0);
    assert_true(WIFEXITED(run.wait_status));
    assert_int_equal(WEXITSTATUS(run.wait_status), 42);
}

static void fatal_signal_comes_back(void **state)
{
    (void)state;
    jail_shell(&box, "kill -SEGV $$", &run);
    assert_true(WIFSIGNALED(run.wait_status));
    assert_int_equal(WTERMSIG(run.wait_status), SIGSEGV);
    assert_false(WCOREDUMP(run.wait_status));
}

static void streams_are_exact_and_apart(void **state)
{
    (void)state;
    jail_shell(&box, "printf 'a\\000b\\377'; printf 'x\\ny' >&2", &run);
    assert_int_equal(run.out_bytes, 4);
    assert_memory_equal(run.out, "a\0b\377", 4);
    assert_int_equal(run.err_bytes, 3);
    assert_memory_equal(run.err, "x\ny", 3);
}

static void standard_streams_can_be_opened_by_name(void **state)
{
    (void)state;
    jail_shell(&box, "echo out > /dev/stdout; echo err > /dev/stderr; cat < /dev/stdin", &run);
    assert_int_equal(run.wait_status, 0);
    assert_string_equal(run.out, "out\n");
    assert_string_equal(run.err, "err\n");
}

static void users_are_who_they_should_be(void **state)
{
    const char *const argv[] = {"sh", "-c", "id -u; id -g; id -G; pwd; touch /root/x && echo ok",
                                NULL};
    (void)state;
    jail_run(&box, NEST_ROOT, "/", argv, &run);
    assert_string_equal(run.out, "0\n0\n0\n/\nok\n");
    jail_run(&box, NEST_USER, "/workspace", argv, &run);
    assert_string_equal(run.out, "1000\n1000\n1000\n/workspace\n");
}

static void root_can_install_packages(void **state)
{
    /* What dpkg does: other owners, ids, modes, hard links, special files of its own kind. */
    const char *const argv[] = {
        "sh", "-c",
        "set -e; cd /root; touch f; chown 33:33 f; chmod 4755 f; ln f g; mkfifo p; "
        "mkdir d; chown 1:1 d; touch d/x; rm -r d f g p; mv /usr/share/doc /usr/share/doc2; "
        "rm -r /usr/share/doc2; mkdir /usr/share/doc; ls /usr/share/doc | wc -l; "
        "su -s /bin/sh -c 'id -u' nobody || setpriv --reuid 65534 id -u",
        NULL};
    (void)state;
    jail_run(&box, NEST_ROOT, "/", argv, &run);
    assert_string_equal(run.err, "");
    assert_string_equal(run.out, "0\n65534\n");
    assert_int_equal(run.wait_status, 0);
}

static void missing_program_is_named_as_such(void **state)
{
    const char *const bare[] = {"no-such-program", NULL};
    const char *const path[] = {"/no/such/program", NULL};
    const char *const directory[] = {"/etc", NULL};
    (void)state;
    jail_run(&box, NEST_USER, "/workspace", bare, &run);
    assert_int_equal(run.error, -ENOENT);
    assert_int_equal(run.step, NEST_STEP_EXEC);
    jail_run(&box, NEST_USER, "/workspace", path, &run);
    assert_int_equal(run.error, -ENOENT);
    assert_int_equal(run.step, NEST_STEP_EXEC);
    jail_run(&box, NEST_USER, "/workspace", directory, &run);
    assert_int_equal(run.error, -EACCES);
    assert_int_equal(run.step, NEST_STEP_EXEC);
}

static void bad_working_directory_is_named_as_such(void **state)
{
    const char *const argv[] = {"true", NULL};
    static const struct {
        const char *cwd;
        int error;
    } CASES[] = {{"/etc/passwd", -ENOTDIR}, {"/no/such", -ENOENT}, {"/root", -EACCES}};
    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        jail_run(&box, NEST_USER, CASES[i].cwd, argv, &run);
        assert_int_equal(run.error, CASES[i].error);
        assert_int_equal(run.step, NEST_STEP_CWD);
    }
}

/* The number of processes that the sandbox's own root sees, beside nest-init, sh and ps's kind. */
static int count_processes(const char *name)
{
    char line[256];
    (void)snprintf(line, sizeof(line), "cat /proc/[0-9]*/comm 2>/dev/null | grep -c '^%s$' || true",
                   name);
    const char *const argv[] = {"sh", "-c", line, NULL};
    jail_run(&box, NEST_ROOT, "/", argv, &run);
    return atoi(run.out);
}

static struct nest_reply command_request(uint32_t op, uint64_t command, int32_t signo)
{
    struct nest_request request = {.op = op, .command = command, .signo = signo};
    struct nest_reply reply;
    int fds[3];
    jail_nest_send(&box, &request, op == NEST_SIGNAL ? NEST_REQUEST_SIZE(signo) : NEST_HEADER_SIZE,
                   -1);
    (void)jail_nest_receive(&box, &reply, fds);
    assert_int_equal(reply.op, op);
    return reply;
}

static void cancelling_kills_the_whole_tree(void **state)
{
    const char *const argv[] = {
        "sh", "-c",
        "setsid sleep 1000 & (setsid sh -c 'trap \"\" TERM HUP INT; sleep 1000 & wait' &); "
        "sleep 1000 & echo ready; exec sleep 1000",
        NULL};
    char ready[8];
    int fds[3];
    (void)state;
    struct nest_reply reply = jail_spawn(&box, NEST_USER, "/workspace", argv, fds);
    assert_int_equal(reply.error, 0);
    assert_int_equal(read(fds[0], ready, sizeof(ready)), 6);
    /* They say nothing once they are sleep, so they are looked for until all are there. */
    int sleeping = 0;
    for (int i = 0; i < LOOKS && sleeping < 4; i++) {
        sleeping = count_processes("sleep");
    }
    assert_int_equal(sleeping, 4);
    assert_int_equal(command_request(NEST_KILL, reply.command, 0).error, 0);
    jail_wait(&box, reply.command, &run);
    assert_true(WIFSIGNALED(run.wait_status));
    assert_int_equal(WTERMSIG(run.wait_status), SIGKILL);
    assert_int_equal(count_processes("sleep"), 0);
    for (int i = 0; i < 3; i++) {
        close(fds[i]);
    }
}

static void what_a_command_leaves_behind_ends_with_it(void **state)
{
    (void)state;
    jail_shell(&box, "setsid sleep 1000 & exit 3", &run);
    assert_int_equal(WEXITSTATUS(run.wait_status), 3);
    assert_int_equal(count_processes("sleep"), 0);
}

static void signal_reaches_the_command(void **state)
{
    const char *const argv[] = {
        "sh", "-c", "trap 'echo got; exit 5' USR1; echo ready; while :; do sleep 0.05; done", NULL};
    char text[16] = {0};
    int fds[3];
    (void)state;
    struct nest_reply reply = jail_spawn(&box, NEST_USER, "/workspace", argv, fds);
    assert_int_equal(read(fds[0], text, 6), 6);
    assert_int_equal(command_request(NEST_SIGNAL, reply.command, SIGUSR1).error, 0);
    jail_wait(&box, reply.command, &run);
    assert_int_equal(read(fds[0], text, 4), 4);
    assert_memory_equal(text, "got\n", 4);
    for (int i = 0; i < 3; i++) {
        close(fds[i]);
    }
    assert_int_equal(command_request(NEST_SIGNAL, reply.command, SIGUSR1).error, -ESRCH);
    assert_int_equal(command_request(NEST_KILL, reply.command, 0).error, -ESRCH);
}

static void init_survives_all_signals_from_inside(void **state)
{
    const char *const argv[] = {
        "sh", "-c", "for s in $(seq 1 64); do kill -$s 1; done 2>/dev/null; true", NULL};
    (void)state;
    jail_run(&box, NEST_ROOT, "/", argv, &run);
    jail_run(&box, NEST_USER, "/", argv, &run);
    jail_shell(&box, "kill -KILL -1", &run);
    jail_shell(&box, "kill -STOP 1; echo alive", &run);
    assert_string_equal(run.out, "alive\n");
}

static void exit_is_repeated_until_acknowledged(void **state)
{
    const char *const argv[] = {"true", NULL};
    struct nest_request hello = {.op = NEST_HELLO};
    struct nest_reply reply;
    int fds[3];
    int none[3];
    (void)state;
    struct nest_reply spawned = jail_spawn(&box, NEST_USER, "/", argv, fds);
    (void)jail_nest_receive(&box, &reply, none);
    assert_int_equal(reply.op, NEST_EXITED);
    jail_nest_send(&box, &hello, NEST_HEADER_SIZE, -1);
    (void)jail_nest_receive(&box, &reply, none);
    assert_int_equal(reply.op, NEST_HELLO);
    jail_wait(&box, spawned.command, &run);
    for (int i = 0; i < 3; i++) {
        close(fds[i]);
    }
}

static uint64_t now_usec(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void resources_are_counted(void **state)
{
    (void)state;
    uint64_t begin = now_usec();
    jail_shell(&box, "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done", &run);
    /* Its one thread can have had no more than all of the time. */
    assert_in_range(run.cpu_usec, 10000, now_usec() - begin);
    assert_in_range(run.max_rss_bytes, 500000, 100000000);
}

static void malformed_spawns_are_refused(void **state)
{
    static struct nest_request request;
    struct nest_reply reply;
    int fds[3];
    int pipes[2];
    (void)state;
    memset(&request, 0, sizeof(request));
    request.op = NEST_SPAWN;
    request.command = ++box.last_command;
    request.spawn =
        (struct nest_spawn){.user = NEST_USER, .argc = 1, .envc = 0, .blob_bytes = 5, .cwd = "/"};
    assert_int_equal(pipe(pipes), 0);
    jail_nest_send(&box, &request, NEST_REQUEST_SIZE(spawn), pipes[0]); /* no sealed memfd */
    (void)jail_nest_receive(&box, &reply, fds);
    assert_int_equal(reply.error, -EINVAL);
    assert_int_equal(reply.step, NEST_STEP_INIT);
    jail_nest_send(&box, &request, NEST_REQUEST_SIZE(spawn), -1);
    (void)jail_nest_receive(&box, &reply, fds);
    assert_int_equal(reply.error, -EPROTO);
    request.op = NEST_OP_COUNT + 5;
    jail_nest_send(&box, &request, NEST_HEADER_SIZE, -1);
    (void)jail_nest_receive(&box, &reply, fds);
    assert_int_equal(reply.error, -EPROTO);
    close(pipes[0]);
    close(pipes[1]);
}

static void a_dead_sandbox_is_seen_and_removed(void **state)
{
    struct jail_box other;
    const char *const argv[] = {"sleep", "1000", NULL};
    int fds[3];
    jail_create(*state, &other);
    (void)jail_spawn(&other, NEST_USER, "/", argv, fds);
    struct sd_reply reply = jail_kill(*state, &other);
    assert_int_equal(reply.error, 0);
    assert_true(reply.cpu_usec > 0);
    char byte;
    assert_int_equal(read(fds[0], &byte, 1), 0);
    for (int i = 0; i < 3; i++) {
        close(fds[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, create_box, kill_box)
        TEST(exit_code_comes_back),
        TEST(fatal_signal_comes_back),
        TEST(streams_are_exact_and_apart),
        TEST(standard_streams_can_be_opened_by_name),
        TEST(users_are_who_they_should_be),
        TEST(root_can_install_packages),
        TEST(missing_program_is_named_as_such),
        TEST(bad_working_directory_is_named_as_such),
        TEST(cancelling_kills_the_whole_tree),
        TEST(what_a_command_leaves_behind_ends_with_it),
        TEST(signal_reaches_the_command),
        TEST(init_survives_all_signals_from_inside),
        TEST(exit_is_repeated_until_acknowledged),
        TEST(resources_are_counted),
        TEST(malformed_spawns_are_refused),
        cmocka_unit_test(a_dead_sandbox_is_seen_and_removed),
    };
    return fixture_main(tests);
}
