/*
 * A sandbox that takes all it can get: within its bounds nothing of the host starves, a neighbour's
 * process goes on and its commands run, and killing the sandbox takes less than a second.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/jail/fixture.h"
#include "tests/jail/hostile_floods.h"
#include "tests/jail/hostile_host.h"

#define NEIGHBOUR_COMMANDS 5

static const struct sd_limits SMALL = JAIL_LIMITS(96, 16, 500, 48);
static struct host host;
static void *daemon_state;

#define FLOOD_COUNT (sizeof(FLOODS) / sizeof(FLOODS[0]))

static int64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void is_bounded_and_killed_at_once(void **state)
{
    const struct flood *flood = *state;
    static struct jail_run run;
    struct jail_box box;
    int fds[3];
    jail_create_with(daemon_state, &SMALL, &box);
    host_check_jail(&box);
    host_start_flood(&box, flood->user, flood->flags, flood->script, fds);
    for (int i = 0; i < NEIGHBOUR_COMMANDS; i++) {
        jail_shell(&host.neighbour, "echo lives", &run);
        assert_string_equal(run.out, "lives\n");
        host_beat(&host);
    }
    int64_t start = now_ms();
    struct sd_reply reply = jail_kill(daemon_state, &box);
    assert_int_equal(reply.error, 0);
    assert_in_range(now_ms() - start, 0, fixture_kill_limit_ms());
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
