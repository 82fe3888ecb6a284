/*
 * Each attack of hostile_cases.h, by the plain user and by root inside, has the outcome that is
 * written there, and neither the host nor a neighbour notices.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/jail/fixture.h"
#include "tests/jail/hostile_host.h"
#include "tests/jail/outcome.h"

static const struct {
    const char *name;
    const char *user;
    const char *root;
} CASES[] = {
#define CASE(name, attack, user, root) {name, user, root},
#include "tests/jail/hostile_cases.h"
#undef CASE
};

#define CASE_COUNT (sizeof(CASES) / sizeof(CASES[0]))

struct attack {
    char title[128];
    const char *name;
    const char *expected;
    const char *output; /* of the probe */
};

static struct jail_run runs[2];
static struct attack attacks[2][CASE_COUNT];
static struct host host;

static void install_probe(struct jail_box *box)
{
    static char data[8 << 20];
    static struct jail_run run;
    const char *path = getenv("CROWNEST_TEST_HOSTILE_PROBE");
    int fd = open(path != NULL ? path : "tests/jail/hostile_probe", O_RDONLY | O_CLOEXEC);
    ssize_t size = read(fd, data, sizeof(data));
    assert_in_range(size, 1, sizeof(data) - 1);
    assert_int_equal(jail_write(box, "probe", 0, data, (size_t)size).error, 0);
    jail_shell(box, "chmod 755 probe", &run);
    close(fd);
}

static void run_probe(struct jail_daemon *daemon, uint32_t user, struct jail_run *ret_run)
{
    struct jail_box box;
    char port[16];
    char pid[16];
    char control[128];
    (void)snprintf(port, sizeof(port), "%d", host.port);
    (void)snprintf(pid, sizeof(pid), "%d", host.bystander);
    const char *const argv[] = {"/workspace/probe", port, pid, daemon->socket_path, control, NULL};
    jail_create(daemon, &box);
    (void)snprintf(control, sizeof(control), "%s/run/control/%s", daemon->dir, box.id);
    assert_int_equal(access(control, F_OK), 0);
    host_check_jail(&box);
    install_probe(&box);
    host_check(&host);
    jail_run(&box, user, "/workspace", argv, ret_run);
    host_check(&host);
    /* Whatever happened to it, init still serves. */
    assert_int_equal(ret_run->wait_status, 0);
    assert_int_equal(jail_kill(daemon, &box).error, 0);
}

/* With a fixture of the group, cmocka would give no case a state of its own. */
static void *daemon_state;

static void host_is_untouched_while_they_run(void **state)
{
    (void)state;
    assert_int_equal(fixture_start(&daemon_state), 0);
    host_open(&host, daemon_state);
    run_probe(daemon_state, NEST_USER, &runs[0]);
    run_probe(daemon_state, NEST_ROOT, &runs[1]);
}

static void host_is_untouched_afterwards(void **state)
{
    (void)state;
    host_close(&host);
    assert_int_equal(fixture_stop(&daemon_state), 0);
}

static void has_its_outcome(void **state)
{
    const struct attack *attack = *state;
    outcome_check(attack->output, attack->name, attack->expected);
}

static int run_attacks(void)
{
    static const char *const USERS[] = {"user", "root"};
    static struct CMUnitTest hostile_cases[2 * CASE_COUNT + 2];
    struct CMUnitTest *next = hostile_cases;
    *next++ = (struct CMUnitTest)cmocka_unit_test(host_is_untouched_while_they_run);
    for (size_t u = 0; u < 2; u++) {
        for (size_t i = 0; i < CASE_COUNT; i++) {
            struct attack *attack = &attacks[u][i];
            attack->name = CASES[i].name;
            attack->expected = u == 0 ? CASES[i].user : CASES[i].root;
            attack->output = runs[u].out;
            (void)snprintf(attack->title, sizeof(attack->title), "%s tries to %s", USERS[u],
                           attack->name);
            *next++ = (struct CMUnitTest){
                .name = attack->title, .test_func = has_its_outcome, .initial_state = attack};
        }
    }
    *next = (struct CMUnitTest)cmocka_unit_test(host_is_untouched_afterwards);
    return cmocka_run_group_tests(hostile_cases, NULL, NULL);
}

int main(void)
{
    return fixture_can_run() ? run_attacks() : fixture_skip();
}
