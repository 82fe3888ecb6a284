/*
 * What a neighbour feels of each flood: how long its commands take, alone and beside it. Numbers,
 * not a verdict: they depend on the host and on what else runs there.
 *
 *     bazel run -c opt //tests/jail:neighbour_bench
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "tests/jail/fixture.h"
#include "tests/jail/hostile_floods.h"
#include "tests/jail/hostile_host.h"

#define ROUNDS 5
#define ROUND 200
#define SAMPLES (ROUNDS * ROUND)

static const struct sd_limits SMALL = JAIL_LIMITS(96, 16, 500, 48);
static struct host host;

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static double now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* One round's samples, added to those of the rounds before. */
static void take(double samples[SAMPLES], size_t round)
{
    static struct jail_run run;
    const char *const argv[] = {"true", NULL};
    for (size_t i = round * ROUND; i < (round + 1) * ROUND; i++) {
        double start = now_ms();
        jail_run(&host.neighbour, NEST_USER, "/", argv, &run);
        samples[i] = now_ms() - start;
    }
}

static double percentile(const double sorted[SAMPLES], size_t percent)
{
    return sorted[SAMPLES * percent / 100];
}

/* Alone and beside it in turn, so that what the host does meanwhile is in both. */
static void measure(struct jail_daemon *daemon, const struct flood *flood)
{
    static double alone[SAMPLES];
    static double beside[SAMPLES];
    for (size_t round = 0; round < ROUNDS; round++) {
        struct jail_box box;
        int fds[3];
        take(alone, round);
        jail_create_with(daemon, &SMALL, &box);
        host_start_flood(&box, flood->user, flood->script, fds);
        take(beside, round);
        assert_int_equal(jail_kill(daemon, &box).error, 0);
        for (int f = 0; f < 3; f++) {
            close(fds[f]);
        }
    }
    qsort(alone, SAMPLES, sizeof(alone[0]), compare);
    qsort(beside, SAMPLES, sizeof(beside[0]), compare);
    printf("%-24s p50 %6.2f -> %6.2f ms  p99 %6.2f -> %6.2f ms  ratio of p99 %5.2f\n", flood->name,
           percentile(alone, 50), percentile(beside, 50), percentile(alone, 99),
           percentile(beside, 99), percentile(beside, 99) / percentile(alone, 99));
}

static void neighbours_commands(void **state)
{
    for (size_t i = 0; i < sizeof(FLOODS) / sizeof(FLOODS[0]); i++) {
        measure(*state, &FLOODS[i]);
    }
}

static int start(void **state)
{
    if (fixture_start(state) < 0) {
        return -1;
    }
    host_open(&host, *state);
    return 0;
}

static int stop(void **state)
{
    host_close(&host);
    return fixture_stop(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(neighbours_commands)};
    return fixture_can_run() ? cmocka_run_group_tests(tests, start, stop) : fixture_skip();
}
