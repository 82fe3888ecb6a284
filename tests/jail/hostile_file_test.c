/*
 * A tree made to harm whoever handles it, and output made to harm whoever reads it: each request
 * to nest-init has the outcome that is written here, and gives away nothing that is not the
 * sandbox's.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/jail/fixture.h"
#include "tests/jail/hostile_host.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define NONE (-1)  /* no descriptor goes with the request */
#define PIPE (-2)  /* the write end of a pipe does */
#define EMPTY (-3) /* the read end of a pipe that says: end of file, make it appear */

static struct host host;
static struct jail_box box;
static struct jail_run run;

static const struct file_case {
    const char *name;
    const char *setup; /* a shell line of the plain user */
    uint32_t op;
    uint32_t flags;
    int with;
    const char *path;
    int error; /* expected */
} CASES[] = {
    {"read a fifo", "mkfifo f", NEST_READ, 0, NONE, "f", EINVAL},
    {"read a socket",
     "perl -MSocket -e 'socket(S,AF_UNIX,SOCK_STREAM,0);bind(S,pack_sockaddr_un(\"s\"))'",
     NEST_READ, 0, NONE, "s", ENXIO},
    {"read a device", "", NEST_READ, 0, NONE, "/dev/zero", EINVAL},
    {"read a terminal", "", NEST_READ, 0, NONE, "/dev/ptmx", EINVAL},
    {"read a directory", "", NEST_READ, 0, NONE, "/etc", EISDIR},
    {"read through a symlink that is barred", "ln -s /etc/passwd l", NEST_READ, NEST_NO_SYMLINKS,
     NONE, "l", ELOOP},
    {"read through a symlinked directory that is barred", "ln -s /etc d", NEST_READ,
     NEST_NO_SYMLINKS, NONE, "d/passwd", ELOOP},
    {"read a symlink to itself", "ln -s self self", NEST_READ, 0, NONE, "self", ELOOP},
    {"read a chain of a hundred symlinks",
     "for i in $(seq 100); do ln -s c$i c$((i-1)); done; : >c100", NEST_READ, 0, NONE, "c0", ELOOP},
    {"read the worker's environment", "", NEST_READ, 0, NONE, "/proc/self/environ", EACCES},
    {"read the worker's memory", "", NEST_READ, 0, NONE, "/proc/self/mem", EACCES},
    {"read the worker's control socket", "", NEST_READ, 0, NONE, "/proc/self/fd/3", ELOOP},
    {"read by the worker's root", "", NEST_READ, 0, NONE, "/proc/self/root/etc/passwd", ELOOP},
    {"read by the worker's cwd", "", NEST_READ, 0, NONE, "/proc/self/cwd/x", ELOOP},
    {"read through a symlink to the worker's socket", "ln -s /proc/self/fd/3 sock", NEST_READ, 0,
     NONE, "sock", ELOOP},
    {"read init's environment", "", NEST_READ, 0, NONE, "/proc/1/environ", ENOENT},
    {"read init's binary", "", NEST_READ, 0, NONE, "/proc/1/exe", ENOENT},
    {"read what only root inside may", "", NEST_READ, 0, NONE, "/etc/shadow", EACCES},
    {"read a file of the host by ..", "", NEST_READ, 0, NONE, "../../../../tmp/crownest-canary",
     ENOENT},
    {"read with an empty name", "", NEST_READ, 0, NONE, "", EINVAL},
    {"read below a file", ": >plain", NEST_READ, 0, NONE, "plain/x", ENOTDIR},
    {"read a name of 300 bytes", "", NEST_READ, 0, NONE,
     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
     "aaaaa"
     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
     "aaaaa"
     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
     "aaaaa",
     ENAMETOOLONG},
    {"write over init's limits", "", NEST_WRITE, 0, EMPTY, "/proc/1/oom_score_adj", ENOENT},
    {"write over the host's core handler", "", NEST_WRITE, 0, EMPTY,
     "/proc/sys/kernel/core_pattern", ENOENT},
    {"write into /etc", "", NEST_WRITE, 0, EMPTY, "/etc/passwd", EACCES},
    {"write over a device", "", NEST_WRITE, 0, EMPTY, "/dev/null", EROFS},
    {"write over a directory", "mkdir sub", NEST_WRITE, 0, EMPTY, "sub", EISDIR},
    {"write over the root", "", NEST_WRITE, 0, EMPTY, "/", EISDIR},
    {"write over ..", "", NEST_WRITE, 0, EMPTY, "sub/..", EISDIR},
    {"make parents through a symlink to /etc", "ln -s /etc e", NEST_WRITE, NEST_MAKE_PARENTS, EMPTY,
     "e/x/y", EACCES},
    {"list init's descriptors", "", NEST_LIST, 0, PIPE, "/proc/1/fd", ENOENT},
    {"list a fifo", "mkfifo lf", NEST_LIST, 0, PIPE, "lf", ENOTDIR},
    {"list what only root inside may", "", NEST_LIST, 0, PIPE, "/root", EACCES},
    {"stat init's binary", "", NEST_STAT, 0, PIPE, "/proc/1/exe", ENOENT},
    {"make a directory in /dev", "", NEST_MAKE_DIR, 0, NONE, "/dev/x", EROFS},
    {"make a directory in /sys", "", NEST_MAKE_DIR, NEST_MAKE_PARENTS, NONE, "/sys/a/b", EACCES},
    {"remove /etc", "", NEST_REMOVE, NEST_RECURSIVE, NONE, "/etc", EACCES},
    {"remove the root", "", NEST_REMOVE, NEST_RECURSIVE, NONE, "/", EBUSY},
    {"remove the masks of /proc", "", NEST_REMOVE, 0, NONE, "/proc/kallsyms", EACCES},
};

#define CASE_COUNT COUNT(CASES)

static int descriptor_for(int with, int *ret_other)
{
    static const uint32_t END = 0;
    int ends[2];
    *ret_other = -1;
    if (with == NONE) {
        return -1;
    }
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    if (with == PIPE) {
        *ret_other = ends[0];
        return ends[1];
    }
    assert_int_equal(write(ends[1], &END, sizeof(END)), sizeof(END));
    close(ends[1]);
    return ends[0];
}

static void has_its_outcome(void **state)
{
    const struct file_case *c = *state;
    int other;
    int fd = -1;
    if (c->setup[0] != '\0') {
        jail_shell(&box, c->setup, &run);
        assert_int_equal(run.wait_status, 0);
    }
    int with = descriptor_for(c->with, &other);
    struct nest_reply reply = jail_file(&box, c->op, c->path, c->flags, with, &fd);
    assert_int_equal(fd, -1);
    if (other >= 0) {
        char byte;
        assert_int_equal(read(other, &byte, 1), 0); /* not a byte came */
        close(other);
    }
    assert_int_equal(reply.error, -c->error);
}

/* --- what one request cannot show --- */

static void removing_a_tree_spares_what_its_symlinks_name(void **state)
{
    (void)state;
    jail_shell(&box, "mkdir -p t/a keep; echo x >keep/f; ln -s ../../keep t/a/l; ln -s / t/r",
               &run);
    assert_int_equal(jail_file(&box, NEST_REMOVE, "t", NEST_RECURSIVE, -1, NULL).error, 0);
    jail_shell(&box, "cat keep/f; ls t 2>&1 | grep -c 'No such'", &run);
    assert_string_equal(run.out, "x\n1\n");
}

/* Renames run against the removal; whatever is found, the target is not touched. */
static void removing_races_with_a_swapped_symlink(void **state)
{
    static const char *const argv[] = {
        "perl", "-e",
        "mkdir 'victim'; open(F,'>victim/f'); $|=1; print 'go'; my $e=time+2; while(time<$e){"
        "mkdir 'race'; mkdir 'race/d'; rename 'race/d','race/x'; symlink '../victim','race/d'; "
        "unlink 'race/d'; rmdir 'race/x';} print -e 'victim/f' ? 'kept' : 'lost'",
        NULL};
    int fds[3];
    char said[8] = {0};
    (void)state;
    struct nest_reply reply = jail_spawn(&box, NEST_USER, "/workspace", argv, fds);
    assert_int_equal(reply.error, 0);
    assert_int_equal(read(fds[0], said, 2), 2);
    struct pollfd ended = {.fd = fds[0], .events = POLLIN};
    while (poll(&ended, 1, 0) == 0) {
        (void)jail_file(&box, NEST_REMOVE, "race", NEST_RECURSIVE, -1, NULL);
    }
    assert_int_equal(read(fds[0], said, 4), 4);
    assert_string_equal(said, "kept");
    for (int i = 0; i < 3; i++) {
        close(fds[i]);
    }
    jail_wait(&box, reply.command, &run);
}

static void sparse_file_is_told_but_not_stored(void **state)
{
    int fd = -1;
    (void)state;
    jail_shell(&box, "truncate -s 1T huge", &run);
    assert_int_equal(run.wait_status, 0);
    struct nest_reply reply = jail_file(&box, NEST_READ, "huge", 0, -1, &fd);
    assert_int_equal(reply.error, 0);
    assert_int_equal(reply.size_bytes, 1ULL << 40);
    close(fd);
    jail_shell(&box, "rm huge", &run);
}

static void names_are_bytes(void **state)
{
    static char data[4096];
    int ends[2];
    (void)state;
    jail_shell(&box, "mkdir names; cd names; perl -e 'open(F,\">\\x1b]0;owned\\a\\n\\xff\")'",
               &run);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(jail_file(&box, NEST_LIST, "names", 0, ends[1], NULL).error, 0);
    ssize_t got = read(ends[0], data, sizeof(data));
    close(ends[0]);
    assert_int_equal(got, sizeof(struct nest_entry) + 12);
    assert_memory_equal(data + sizeof(struct nest_entry), "\x1b]0;owned\a\n\xff", 12);
}

static void pattern_that_backtracks_has_an_end(void **state)
{
    int ends[2];
    (void)state;
    jail_shell(&box, ": >aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", &run);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    struct nest_reply reply = jail_file(
        &box, NEST_GLOB, "/workspace/*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b", 0, ends[1], NULL);
    close(ends[0]);
    assert_int_equal(reply.error, 0);
    assert_int_equal(reply.size_bytes, 0);
}

static void a_thousand_directories_deep_is_removed(void **state)
{
    (void)state;
    jail_shell(&box, "perl -e 'for (1..1000) { mkdir \"deep\" or die; chdir \"deep\" }'", &run);
    assert_int_equal(run.wait_status, 0);
    struct nest_reply reply = jail_file(&box, NEST_REMOVE, "deep", NEST_RECURSIVE, -1, NULL);
    assert_in_range(-reply.error, 0, ELOOP); /* done, or refused; never the end of init */
    jail_shell(&box, "rm -rf deep; echo alive", &run);
    assert_string_equal(run.out, "alive\n");
}

/* --- output --- */

static void control_bytes_come_as_they_are(void **state)
{
    (void)state;
    jail_shell(&box, "printf '\\033[2J\\033]52;c;AAAA\\007\\000\\377\\376\\r\\n'", &run);
    assert_int_equal(run.out_bytes, 21);
    assert_memory_equal(run.out, "\033[2J\033]52;c;AAAA\007\000\377\376\r\n", 21);
}

static void output_without_a_reader_stops_nobody_else(void **state)
{
    const char *const argv[] = {"cat", "/dev/zero", NULL};
    int fds[3];
    (void)state;
    struct nest_reply reply = jail_spawn(&box, NEST_USER, "/", argv, fds);
    assert_int_equal(reply.error, 0);
    jail_shell(&box, "echo served", &run);
    assert_string_equal(run.out, "served\n");
    host_beat(&host);
    struct nest_request kill_it = {.op = NEST_KILL, .command = reply.command};
    struct nest_reply killed;
    int none[3];
    jail_nest_send(&box, &kill_it, NEST_HEADER_SIZE, -1);
    (void)jail_nest_receive(&box, &killed, none);
    for (int i = 0; i < 3; i++) {
        close(fds[i]);
    }
    jail_wait(&box, reply.command, &run);
    assert_true(WIFSIGNALED(run.wait_status));
}

static void flags_of_ones_own_output_stay_ones_own(void **state)
{
    const char *const argv[] = {
        "perl", "-e", "use Fcntl; fcntl(STDOUT,F_SETFL,O_NONBLOCK|O_APPEND); print 'x'", NULL};
    int fds[3];
    (void)state;
    struct nest_reply reply = jail_spawn(&box, NEST_USER, "/", argv, fds);
    assert_int_equal(reply.error, 0);
    int before = fcntl(fds[0], F_GETFL);
    char byte;
    assert_int_equal(read(fds[0], &byte, 1), 1);
    assert_int_equal(fcntl(fds[0], F_GETFL), before);
    for (int i = 0; i < 3; i++) {
        close(fds[i]);
    }
    jail_wait(&box, reply.command, &run);
}

static void output_ends_though_a_daemon_holds_it(void **state)
{
    (void)state;
    jail_shell(&box, "(setsid sh -c 'trap \"\" HUP TERM; sleep 1000' &) ; echo done", &run);
    assert_string_equal(run.out, "done\n");
}

static int start(void **state)
{
    if (fixture_start(state) < 0) {
        return -1;
    }
    host_open(&host, *state);
    jail_create(*state, &box);
    host_check_jail(&box);
    return 0;
}

static int stop(void **state)
{
    assert_int_equal(jail_kill(*state, &box).error, 0);
    host_close(&host);
    return fixture_stop(state);
}

static void *daemon_state;

static void host_is_ready(void **state)
{
    (void)state;
    assert_int_equal(start(&daemon_state), 0);
}

static void host_is_untouched(void **state)
{
    (void)state;
    assert_int_equal(stop(&daemon_state), 0);
}

int main(void)
{
    static struct CMUnitTest tests[CASE_COUNT + 12];
    const struct CMUnitTest others[] = {
        cmocka_unit_test(removing_a_tree_spares_what_its_symlinks_name),
        cmocka_unit_test(removing_races_with_a_swapped_symlink),
        cmocka_unit_test(sparse_file_is_told_but_not_stored),
        cmocka_unit_test(names_are_bytes),
        cmocka_unit_test(pattern_that_backtracks_has_an_end),
        cmocka_unit_test(a_thousand_directories_deep_is_removed),
        cmocka_unit_test(control_bytes_come_as_they_are),
        cmocka_unit_test(output_without_a_reader_stops_nobody_else),
        cmocka_unit_test(flags_of_ones_own_output_stay_ones_own),
        cmocka_unit_test(output_ends_though_a_daemon_holds_it),
    };
    struct CMUnitTest *next = tests;
    *next++ = (struct CMUnitTest)cmocka_unit_test(host_is_ready);
    for (size_t i = 0; i < CASE_COUNT; i++) {
        *next++ = (struct CMUnitTest){.name = CASES[i].name,
                                      .test_func = has_its_outcome,
                                      .initial_state = (void *)(uintptr_t)&CASES[i]};
    }
    memcpy(next, others, sizeof(others));
    next += COUNT(others);
    *next = (struct CMUnitTest)cmocka_unit_test(host_is_untouched);
    return fixture_can_run() ? cmocka_run_group_tests(tests, NULL, NULL) : fixture_skip();
}
