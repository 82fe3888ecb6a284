/*
 * A nest-init that was taken over: each attack of taken_cases.h has the outcome that is written
 * there, its sandbox stays in its bounds, sandboxd and a neighbour do not notice, and it is killed
 * at once with all that it has dug in.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/jail/fixture.h"
#include "tests/jail/outcome.h"
#include "tests/jail/posture_check.h"

#define BACKLOG 256

static const struct taken {
    const char *name;
    const char *outcome;
} CASES[] = {
#define CASE(name, attack, outcome) {name, outcome},
#include "tests/jail/taken_cases.h"
#undef CASE
};

#define CASE_COUNT (sizeof(CASES) / sizeof(CASES[0]))

static void *daemon_state;
static struct jail_box box;

static void sandbox_is_taken_over(void **state)
{
    (void)state;
    assert_int_equal(fixture_start(&daemon_state), 0);
    jail_create(daemon_state, &box);
}

static void make_attack(const struct taken *taken)
{
    /* sandboxd is the process of the host that it is told of. */
    struct nest_request request = {.op = NEST_SIGNAL,
                                   .command =
                                       (uint64_t)((const struct jail_daemon *)daemon_state)->pid,
                                   .signo = (int32_t)(taken - CASES)};
    struct nest_reply reply;
    int none[3];
    jail_nest_send(&box, &request, NEST_REQUEST_SIZE(signo), -1);
    (void)jail_nest_receive(&box, &reply, none);
    const char *outcome = reply.error > 0 ? "killed" : outcome_name(-reply.error);
    if (!outcome_is_one_of(outcome, strlen(outcome), taken->outcome)) {
        fail_msg("%s: %s instead of %s", taken->name, outcome, taken->outcome);
    }
    posture_check_cgroups(&box, posture_init_pid(&box));
}

static void has_its_outcome(void **state)
{
    make_attack(*state);
}

static int64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void kill_at_once(void)
{
    int64_t start = now_ms();
    assert_int_equal(jail_kill(daemon_state, &box).error, 0);
    assert_in_range(now_ms() - start, 0, fixture_kill_limit_ms());
}

/* It listens no more: sandboxd says so when there is no room for a further connection. */
static void deaf_init_holds_up_nobody(void **state)
{
    struct jail_box other;
    int fds[SD_FD_COUNT];
    int error = 0;
    (void)state;
    for (int i = 0; i <= BACKLOG + 1 && error == 0; i++) {
        struct sd_request request = jail_request(daemon_state, SD_ADOPT, box.id);
        error = jail_ask(daemon_state, &request, fds).error;
        for (int f = 0; error == 0 && f < SD_FD_COUNT; f++) {
            close(fds[f]);
        }
    }
    assert_int_equal(error, -EAGAIN);
    jail_create(daemon_state, &other);
    assert_int_equal(jail_kill(daemon_state, &other).error, 0);
}

static void is_killed_at_once(void **state)
{
    (void)state;
    kill_at_once();
}

static void is_killed_at_once_with_threads(void **state)
{
    jail_create(daemon_state, &box);
    make_attack(*state);
    kill_at_once();
}

static void sandboxd_ends_well(void **state)
{
    (void)state;
    assert_int_equal(fixture_stop(&daemon_state), 0);
}

int main(void)
{
    static struct CMUnitTest tests[CASE_COUNT + 4];
    struct CMUnitTest *next = tests;
    assert_int_equal(setenv("CROWNEST_TEST_SANDBOXD", "tests/jail/sandboxd_taken", 0), 0);
    *next++ = (struct CMUnitTest)cmocka_unit_test(sandbox_is_taken_over);
    for (size_t i = 0; i < CASE_COUNT - 1; i++) {
        *next++ = (struct CMUnitTest){.name = CASES[i].name,
                                      .test_func = has_its_outcome,
                                      .initial_state = (void *)(uintptr_t)&CASES[i]};
    }
    *next++ = (struct CMUnitTest)cmocka_unit_test(deaf_init_holds_up_nobody);
    *next++ = (struct CMUnitTest)cmocka_unit_test(is_killed_at_once);
    *next++ = (struct CMUnitTest){.name = CASES[CASE_COUNT - 1].name,
                                  .test_func = is_killed_at_once_with_threads,
                                  .initial_state = (void *)(uintptr_t)&CASES[CASE_COUNT - 1]};
    *next = (struct CMUnitTest)cmocka_unit_test(sandboxd_ends_well);
    return fixture_can_run() ? cmocka_run_group_tests(tests, NULL, NULL) : fixture_skip();
}
