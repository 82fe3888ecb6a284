/*
 * A sandbox that takes all it can get: within its bounds nothing of the host starves, a neighbour's
 * process goes on and its commands run, and killing the sandbox takes less than a second.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/jail/fixture.h"
#include "tests/jail/hostile_host.h"

#define KILL_LIMIT_MS 1000
#define NEIGHBOUR_COMMANDS 5

static const struct sd_limits SMALL = {96ULL << 20, 16ULL << 20, 500, 48};
static struct host host;
static void *daemon_state;

/* Each says "ready" when it is in full swing, and never ends by itself. */
static const struct flood {
    const char *name;
    uint32_t user;
    const char *script; /* of perl; $r->() says so */
} FLOODS[] = {
    {"fork bomb", NEST_USER, "$r->(); while (1) { fork }"},
    {"fork bomb of root", NEST_ROOT, "$r->(); while (1) { fork }"},
    {"zombie flood", NEST_USER,
     "for (1..1e6) { $p = fork; exit if defined $p && !$p; $r->() if !defined $p }"},
    {"orphan flood", NEST_USER,
     "$r->(); while (1) { if (defined($p = fork) && !$p) { fork; exit } wait }"},
    {"memory bomb", NEST_USER,
     "$r->(); while (1) { if (defined($p = fork) && !$p) { @x = map { 'x' x 1e6 } 1..1e6; exit } "
     "wait }"},
    {"shared memory bomb", NEST_USER,
     "open F, '>/dev/shm/x'; $r->(); while (1) { syswrite(F, 'x' x 1e5) or truncate(F, 0), "
     "sysseek(F, 0, 0) }"},
    {"disk fill", NEST_USER,
     "open F, '>/tmp/x'; 1 while syswrite(F, 'x' x 1e5); $r->(); while (1) { open G, '>/tmp/y'; "
     "syswrite(G, 'x') }"},
    {"inode fill", NEST_USER,
     "mkdir '/tmp/i'; $i = 0; $i++ while open F, \">/tmp/i/$i\"; $r->(); "
     "while (1) { open F, '>/tmp/i/more' }"},
    {"descriptor flood", NEST_USER,
     "while (open my $f, '</dev/null') { push @f, $f } $r->(); while (1) { open my $f, "
     "'</dev/null' }"},
    {"socket flood", NEST_USER,
     "use Socket; while (socket(my $f, AF_INET, SOCK_STREAM, 0)) { push @f, $f } $r->(); "
     "while (1) { socket(my $f, AF_INET, SOCK_STREAM, 0) }"},
    {"pipe buffer flood", NEST_USER,
     "use Fcntl; while (pipe(my $a, my $b)) { fcntl($b, 1031, 1 << 20); fcntl($b, F_SETFL, "
     "O_NONBLOCK); syswrite($b, 'x' x 65536); push @f, $a, $b } $r->(); sleep 1e6"},
    {"terminal flood", NEST_USER,
     "while (open my $f, '+<', '/dev/ptmx') { push @f, $f } $r->(); while (1) { open my $f, '+<', "
     "'/dev/ptmx' }"},
    {"log flood", NEST_USER, "$r->(); while (1) { syswrite(STDOUT, 'x' x 65536) }"},
    {"deep directories", NEST_USER,
     "$r->(); chdir '/tmp'; while (1) { mkdir 'd'; chdir 'd' or chdir '/tmp' }"},
    {"long names", NEST_USER,
     "$r->(); while (1) { $n = 'n' x 250 . $i++; open F, \">/tmp/$n\" or unlink glob '/tmp/n*' }"},
    {"rename storm", NEST_USER,
     "mkdir '/tmp/a'; $r->(); while (1) { rename '/tmp/a', '/tmp/b'; rename '/tmp/b', '/tmp/a' }"},
    {"signal storm", NEST_USER,
     "$SIG{USR1} = 'IGNORE'; fork; fork; fork; $r->(); while (1) { kill 'USR1', -getpgrp }"},
    {"signal storm on init", NEST_ROOT, "$r->(); while (1) { kill 'CHLD', 1; kill 'TERM', 1 }"},
    {"busy loops", NEST_USER, "fork for 1..4; $r->(); 1 while 1"},
    {"sync storm", NEST_USER,
     "$r->(); while (1) { open F, '>/tmp/s'; syswrite(F, 'x'); syscall(162) }"},
    {"connections to itself", NEST_USER,
     "use Socket; socket(S, AF_INET, SOCK_STREAM, 0); bind(S, sockaddr_in(7000, INADDR_LOOPBACK)); "
     "listen(S, 4096); $r->(); while (1) { socket(my $c, AF_INET, SOCK_STREAM, 0); connect($c, "
     "sockaddr_in(7000, INADDR_LOOPBACK)) }"},
    {"message queue flood", NEST_USER,
     "$r->(); $i = 0; $i++ while defined msgget($i + 1, 0600 | 01000) && $i < 1e5"},
    {"semaphore flood", NEST_USER,
     "$r->(); $i = 0; $i++ while defined semget($i + 1, 250, 0600 | 01000) && $i < 1e5"},
    {"watch flood", NEST_USER,
     "$f = syscall(294, 0); for (1..1e5) { mkdir \"/tmp/w$_\" or last; last if syscall(254, $f, "
     "\"/tmp/w$_\", 0xfff) < 0 } $r->(); sleep 1e6"},
    {"timer flood", NEST_USER,
     "$b = pack('q', 0); for (1..1e5) { last if syscall(222, 1, 0, $b) < 0 } $r->(); sleep 1e6"},
};

#define FLOOD_COUNT (sizeof(FLOODS) / sizeof(FLOODS[0]))

static int64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Waits for "ready" on the standard error, which floods do not use. */
static void start_flood(struct jail_box *box, const struct flood *flood, int ret_fds[3])
{
    char script[1024];
    char said[5];
    struct pollfd wait = {.events = POLLIN};
    (void)snprintf(script, sizeof(script), "$r = sub { syswrite(STDERR, 'ready') }; %s; sleep 1e6",
                   flood->script);
    const char *const argv[] = {"perl", "-e", script, NULL};
    assert_int_equal(jail_spawn(box, flood->user, "/tmp", argv, ret_fds).error, 0);
    wait.fd = ret_fds[1];
    assert_int_equal(poll(&wait, 1, JAIL_TIMEOUT_MS), 1);
    assert_int_equal(read(ret_fds[1], said, sizeof(said)), sizeof(said));
    assert_memory_equal(said, "ready", sizeof(said));
}

static void is_bounded_and_killed_at_once(void **state)
{
    const struct flood *flood = *state;
    static struct jail_run run;
    struct jail_box box;
    int fds[3];
    jail_create_with(daemon_state, &SMALL, &box);
    host_check_jail(&box);
    start_flood(&box, flood, fds);
    for (int i = 0; i < NEIGHBOUR_COMMANDS; i++) {
        jail_shell(&host.neighbour, "echo lives", &run);
        assert_string_equal(run.out, "lives\n");
        host_beat(&host);
    }
    int64_t start = now_ms();
    struct sd_reply reply = jail_kill(daemon_state, &box);
    assert_int_equal(reply.error, 0);
    assert_in_range(now_ms() - start, 0, KILL_LIMIT_MS);
    assert_true(reply.memory_peak_bytes <= SMALL.memory_bytes);
    for (int i = 0; i < 3; i++) {
        close(fds[i]);
    }
}

static void host_is_ready(void **state)
{
    (void)state;
    assert_int_equal(fixture_start(&daemon_state), 0);
    host_open(&host, daemon_state);
}

static void host_is_untouched(void **state)
{
    (void)state;
    host_close(&host);
    assert_int_equal(fixture_stop(&daemon_state), 0);
}

int main(void)
{
    static struct CMUnitTest tests[FLOOD_COUNT + 2];
    tests[0] = (struct CMUnitTest)cmocka_unit_test(host_is_ready);
    for (size_t i = 0; i < FLOOD_COUNT; i++) {
        tests[i + 1] = (struct CMUnitTest){.name = FLOODS[i].name,
                                           .test_func = is_bounded_and_killed_at_once,
                                           .initial_state = (void *)(uintptr_t)&FLOODS[i]};
    }
    tests[FLOOD_COUNT + 1] = (struct CMUnitTest)cmocka_unit_test(host_is_untouched);
    return fixture_can_run() ? cmocka_run_group_tests(tests, NULL, NULL) : fixture_skip();
}
