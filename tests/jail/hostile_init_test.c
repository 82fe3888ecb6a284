/*
 * nest-init under attack from inside its sandbox, by root, and by a client that asks for all it
 * can: it goes on serving, says what it cannot do, and where it must end, its sandbox ends cleanly.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/jail/box.h"
#include "tests/jail/hostile_host.h"
#include "tests/jail/posture_check.h"

#define OPERATIONS 30
#define ENDLESS "1000000"

static void assert_served(void)
{
    jail_shell(&box, "echo served", &run);
    assert_string_equal(run.out, "served\n");
    assert_int_equal(jail_write(&box, "served", 0, "x", 1).error, 0);
}

static uint64_t start_root(const char *script, int ret_fds[3])
{
    const char *const argv[] = {"perl", "-e", script, NULL};
    struct nest_reply reply = jail_spawn(&box, NEST_ROOT, "/", argv, ret_fds);
    assert_int_equal(reply.error, 0);
    return reply.command;
}

/*
 * Returns the next message of this kind. A worker that is killed when it has answered is answered
 * for once more: the server drops what it has no question for, and so does this.
 */
static struct nest_reply await(uint32_t op, uint64_t serial)
{
    struct nest_reply reply;
    int fds[3];
    do {
        if (jail_nest_receive(&box, &reply, fds) > 0) {
            close(fds[0]);
        }
    } while (reply.op != op || reply.serial != serial);
    return reply;
}

static struct nest_reply ask(struct nest_request request, size_t size)
{
    jail_nest_send(&box, &request, size, -1);
    return await(request.op, request.serial);
}

static int read_passwd(void)
{
    struct nest_request request = {.op = NEST_READ};
    (void)snprintf(request.file.path, sizeof(request.file.path), "/etc/passwd");
    return ask(request, NEST_REQUEST_SIZE(file)).error;
}

static void end_storm(uint64_t command, const int fds[3])
{
    struct nest_request request = {.op = NEST_KILL, .command = command};
    assert_int_equal(ask(request, NEST_HEADER_SIZE).error, 0);
    assert_int_equal(await(NEST_EXITED, 0).command, command);
    request.op = NEST_ACK;
    assert_int_equal(ask(request, NEST_HEADER_SIZE).error, 0);
    for (int i = 0; i < 3; i++) {
        close(fds[i]);
    }
}

/* Whatever a signal does to the process at work, the operation is answered. */
static void check_storm(const char *signal_name)
{
    char script[512];
    int fds[3];
    int done = 0;
    (void)snprintf(script, sizeof(script),
                   "syswrite(STDOUT, 'u'); while (1) { opendir D, '/proc'; for (readdir D) { "
                   "next unless /^\\d+$/ && $_ > 1 && $_ != $$; kill '%s', $_ } }",
                   signal_name);
    uint64_t command = start_root(script, fds);
    char up;
    assert_int_equal(read(fds[0], &up, 1), 1);
    for (int i = 0; i < OPERATIONS; i++) {
        int error = read_passwd();
        assert_true(error == 0 || error == -EIO);
        done += error == 0;
    }
    print_message("%d of %d operations went well\n", done, OPERATIONS);
    end_storm(command, fds);
    assert_served();
}

static void workers_that_are_killed_are_answered_for(void **state)
{
    (void)state;
    check_storm("KILL");
}

static void workers_that_are_stopped_are_answered_for(void **state)
{
    (void)state;
    check_storm("STOP");
}

static void everything_killed_at_once_is_survived(void **state)
{
    const char *const argv[] = {"sh", "-c", "kill -KILL -1", NULL};
    (void)state;
    for (int i = 0; i < 5; i++) {
        jail_run(&box, NEST_ROOT, "/", argv, &run);
        assert_int_equal(run.error, 0);
        /* The process that becomes this command may be one of those that were killed. */
        jail_shell(&box, "echo served", &run);
        assert_int_equal(run.error, 0);
        assert_served();
    }
}

/* Children that it never asked for, and their zombies. */
static void strange_children_are_reaped(void **state)
{
    /* 56 is clone; 0x8000 has the parent be that of the caller. */
    const char *const argv[] = {"perl", "-e",
                                "for (1..500) { $p = syscall(56, 0x8000 | 17, 0, 0, 0, 0); "
                                "$p == 0 and syscall(60, 0); $n += $p > 0 } print $n",
                                NULL};
    (void)state;
    jail_run(&box, NEST_USER, "/", argv, &run);
#ifdef __x86_64__
    assert_string_equal(run.out, "500");
#endif
    jail_shell(&box, "sleep 0.1; grep -c '^State:.Z' /proc/[0-9]*/status", &run);
    assert_null(strstr(run.out, ":1"));
    assert_served();
}

/* A client that starts all it may and never acknowledges, with few files for each command. */
static void commands_without_end_are_bounded(void **state)
{
    struct sd_limits few = JAIL_LIMITS(256, 16, 2000, 128);
    const char *const argv[] = {"true", NULL};
    const struct nest_spawn options = {.user = NEST_USER, .cwd = "/"};
    struct nest_reply reply = {0};
    uint64_t started = 0;
    int fds[3];
    few.max_open_files = 64;
    assert_int_equal(jail_kill(*state, &box).error, 0);
    jail_create_with(*state, &few, &box);
    while (reply.error == 0 && started <= NEST_MAX_COMMANDS) {
        struct nest_reply exited;
        reply = jail_spawn_with(&box, &options, argv, fds);
        if (reply.error == 0) {
            started++;
            close(fds[0]);
            close(fds[1]);
            (void)jail_nest_receive(&box, &exited, fds);
            assert_int_equal(exited.op, NEST_EXITED);
        }
    }
    assert_int_equal(started, NEST_MAX_COMMANDS);
    assert_int_equal(reply.error, -EAGAIN);
    assert_int_equal(reply.step, NEST_STEP_INIT);
    assert_int_equal(jail_write(&box, "served", 0, "x", 1).error, 0);
    /* Whoever comes next is let in, hears of all of them, and can clear them away. */
    jail_adopt(*state, &box);
    jail_hello(&box);
    for (uint64_t i = 0; i < started; i++) {
        struct nest_reply exited;
        (void)jail_nest_receive(&box, &exited, fds);
        assert_int_equal(exited.op, NEST_EXITED);
    }
    for (uint64_t i = 1; i <= started; i++) {
        jail_ack(&box, i);
    }
    box.last_command = NEST_MAX_COMMANDS + 1;
    assert_served();
}

/* The same with commands that go on: each holds more of what nest-init has. */
static void running_commands_are_bounded_by_processes_only(void **state)
{
    struct sd_limits many = JAIL_LIMITS(512, 16, 2000, 400);
    const char *const argv[] = {"sleep", ENDLESS, NULL};
    struct nest_reply reply = {0};
    uint64_t started = 0;
    int fds[3];
    many.max_open_files = 64;
    assert_int_equal(jail_kill(*state, &box).error, 0);
    jail_create_with(*state, &many, &box);
    for (;;) {
        reply = jail_spawn(&box, NEST_USER, "/", argv, fds);
        if (reply.error < 0) {
            break;
        }
        started++;
        for (int i = 0; i < 3; i++) {
            close(fds[i]);
        }
    }
    assert_in_range(started, 300, 399);
    assert_int_equal(reply.error, -EAGAIN);
    assert_int_equal(reply.step, NEST_STEP_INIT);
    jail_adopt(*state, &box);
    jail_hello(&box);
}

/*
 * Its last resort is to be the one that is killed: the sandbox ends, and all the rest goes on. Two
 * share the memory, since one that has all of it outweighs any score.
 */
static void an_init_that_is_made_the_victim_ends_its_sandbox_only(void **state)
{
    static struct host host;
    int fds[3];
    host_open(&host, *state);
    (void)start_root("open O, '>', '/proc/1/oom_score_adj'; syswrite(O, 1000); "
                     "open O, '>', '/proc/self/oom_score_adj'; syswrite(O, 0); "
                     "fork; while (1) { push @x, 'x' x (1_000_000 + $i++) }",
                     fds);
    struct pollfd dead = {.fd = box.pidfd, .events = POLLIN};
    assert_int_equal(poll(&dead, 1, JAIL_TIMEOUT_MS), 1);
    struct sd_reply reply = jail_kill(*state, &box);
    assert_int_equal(reply.error, 0);
    assert_true(reply.oom_kills >= 1);
    host_close(&host);
    jail_create(*state, &box);
    for (int i = 0; i < 3; i++) {
        close(fds[i]);
    }
}

/* Scores of its own say nothing about others, and none is spared. */
static void oom_scores_stay_inside(void **state)
{
    (void)state;
    jail_shell(&box,
               "echo 1000 > /proc/self/oom_score_adj; echo -1 > /proc/self/oom_score_adj; "
               "cat /proc/self/oom_score_adj; echo 5 > /proc/1/oom_score_adj",
               &run);
    assert_string_equal(run.out, "1000\n");
}

static size_t count_lines(const char *path)
{
    size_t lines = 0;
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    for (int c = getc(file); c != EOF; c = getc(file)) {
        lines += c == '\n';
    }
    (void)fclose(file);
    return lines;
}

/* Segments outlive the process that made them, are counted meanwhile, and end with the sandbox. */
static void system_v_objects_end_with_the_sandbox(void **state)
{
    struct sd_request request = jail_request(*state, SD_STATS, box.id);
    size_t before = count_lines("/proc/sysvipc/shm");
    jail_shell(&box,
               "perl -e 'for (1..8) { $i = shmget($_, 4 << 20, 0600 | 01000); shmwrite($i, q(x) x "
               "(4 << 20), 0, 4 << 20); msgget($_, 0600 | 01000); semget($_, 9, 0600 | 01000) }'; "
               "wc -l < /proc/sysvipc/shm",
               &run);
    assert_string_equal(run.out, "9\n");
    assert_true(jail_ask(*state, &request, NULL).memory_bytes >= 32 << 20);
    assert_int_equal(count_lines("/proc/sysvipc/shm"), before);
    assert_served();
}

static int make_dir(const char *path, uint64_t token)
{
    struct nest_request request = {.op = NEST_MAKE_DIR, .token = token};
    struct nest_reply reply;
    int none[3];
    request.file.flags = NEST_MAKE_PARENTS;
    (void)snprintf(request.file.path, sizeof(request.file.path), "%s", path);
    jail_nest_send(&box, &request, NEST_REQUEST_SIZE(file), -1);
    (void)jail_nest_receive(&box, &reply, none);
    return reply.error;
}

/* They are kept for a while, and no flood of them makes it keep more, or forget the last ones. */
static void names_of_changes_are_forgotten_in_order(void **state)
{
    /* The last ones are answered, and may not be noted yet. */
    const uint64_t last = NEST_TOKENS + NEST_MAX_WORKERS + 1;
    (void)state;
    for (uint64_t token = 1; token <= last; token++) {
        assert_int_equal(make_dir("/tmp/d", token), 0);
    }
    assert_int_equal(make_dir("/tmp/known", last - NEST_TOKENS + 1), 0);
    assert_int_equal(make_dir("/tmp/forgotten", 1), 0);
    jail_shell(&box, "ls -d /tmp/[fk]*", &run);
    assert_string_equal(run.out, "/tmp/forgotten\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, create_box, kill_box)
        TEST(workers_that_are_killed_are_answered_for),
        TEST(workers_that_are_stopped_are_answered_for),
        TEST(everything_killed_at_once_is_survived),
        TEST(strange_children_are_reaped),
        TEST(commands_without_end_are_bounded),
        TEST(running_commands_are_bounded_by_processes_only),
        TEST(an_init_that_is_made_the_victim_ends_its_sandbox_only),
        TEST(oom_scores_stay_inside),
        TEST(system_v_objects_end_with_the_sandbox),
        TEST(names_of_changes_are_forgotten_in_order),
    };
    return fixture_main(tests);
}
