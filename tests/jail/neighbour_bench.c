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

#define SAMPLES 300

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

static void measure(const char *name)
{
    static struct jail_run run;
    static double samples[SAMPLES];
    const char *const argv[] = {"true", NULL};
    for (int i = 0; i < SAMPLES; i++) {
        double start = now_ms();
        jail_run(&host.neighbour, NEST_USER, "/", argv, &run);
        samples[i] = now_ms() - start;
    }
    qsort(samples, SAMPLES, sizeof(samples[0]), compare);
    printf("%-24s p50 %7.2f ms  p99 %7.2f ms  max %7.2f ms\n", name, samples[SAMPLES / 2],
           samples[SAMPLES * 99 / 100], samples[SAMPLES - 1]);
}

static void neighbours_commands(void **state)
{
    measure("alone");
    for (size_t i = 0; i < sizeof(FLOODS) / sizeof(FLOODS[0]); i++) {
        struct jail_box box;
        int fds[3];
        jail_create_with(*state, &SMALL, &box);
        host_start_flood(&box, FLOODS[i].user, FLOODS[i].script, fds);
        measure(FLOODS[i].name);
        assert_int_equal(jail_kill(*state, &box).error, 0);
        for (int f = 0; f < 3; f++) {
            close(fds[f]);
        }
    }
    measure("alone again");
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
