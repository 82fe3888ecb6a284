/*
 * What a neighbour feels of each flood: how long its commands take while the flood is frozen, and
 * while it runs. Both in turn, several times, since a host has better and worse moments; a ratio is
 * the median of those of single rounds. A flood runs for a second before, as sandboxd takes up
 * to half of one to find that a sandbox is busy (sandboxd/busy.h). Numbers, not a verdict.
 *
 *     bazel run -c opt //tests/jail:neighbour_bench [-- MILLIS [FLOOD]]
 *
 * MILLIS: of CPU that the flood may use, 500 without it; FLOOD: how the names of those begin that
 * are measured, all without it. As root, on a host that does nothing else.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "server/util/slice.h"
#include "tests/jail/fixture.h"
#include "tests/jail/hostile_floods.h"
#include "tests/jail/hostile_host.h"

#define ROUNDS 7
#define SAMPLES 1000
#define WARM_UP 20
#define SETTLE_MS 100
#define FOUND_MS 1000

static struct sd_limits limits = JAIL_LIMITS(96, 16, 500, 48);
static const char *wanted = "";
static struct host host;

/* Of one round, in ms; or ratios of them. */
struct figures {
    double p50;
    double p90;
    double p99;
};

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

static struct figures measure(void)
{
    static struct jail_run run;
    static double samples[SAMPLES];
    const char *const argv[] = {"true", NULL};
    for (int i = -WARM_UP; i < SAMPLES; i++) {
        double start = now_ms();
        jail_run(&host.neighbour, NEST_USER, "/", argv, &run);
        samples[i < 0 ? 0 : i] = now_ms() - start;
    }
    qsort(samples, SAMPLES, sizeof(samples[0]), compare);
    return (struct figures){samples[SAMPLES / 2], samples[SAMPLES * 90 / 100],
                            samples[SAMPLES * 99 / 100]};
}

static double median(const struct figures rounds[ROUNDS], size_t offset)
{
    double values[ROUNDS];
    for (int i = 0; i < ROUNDS; i++) {
        memcpy(&values[i], (const char *)&rounds[i] + offset, sizeof(double));
    }
    qsort(values, ROUNDS, sizeof(values[0]), compare);
    return values[ROUNDS / 2];
}

#define MEDIAN(rounds, field) median(rounds, offsetof(struct figures, field))

static void set_frozen(struct jail_daemon *daemon, const struct jail_box *box, bool frozen)
{
    struct sd_request request = jail_request(daemon, frozen ? SD_FREEZE : SD_THAW, box->id);
    assert_int_equal(jail_ask(daemon, &request, NULL).error, 0);
    (void)poll(NULL, 0, SETTLE_MS);
}

static void measure_flood(struct jail_daemon *daemon, const struct flood *flood)
{
    struct figures alone[ROUNDS];
    struct figures beside[ROUNDS];
    struct figures ratio[ROUNDS];
    struct jail_box box;
    int fds[3];
    jail_create_with(daemon, &limits, &box);
    host_start_flood(&box, flood->user, flood->flags, flood->script, fds);
    (void)poll(NULL, 0, FOUND_MS);
    for (int i = 0; i < ROUNDS; i++) {
        set_frozen(daemon, &box, true);
        alone[i] = measure();
        set_frozen(daemon, &box, false);
        beside[i] = measure();
        ratio[i] = (struct figures){beside[i].p50 / alone[i].p50, beside[i].p90 / alone[i].p90,
                                    beside[i].p99 / alone[i].p99};
    }
    assert_int_equal(jail_kill(daemon, &box).error, 0);
    for (int f = 0; f < 3; f++) {
        close(fds[f]);
    }
    printf("%-28s %6.2f %6.2f %6.2f  %6.2f %6.2f %6.2f  %5.2f %5.2f %5.2f\n", flood->name,
           MEDIAN(alone, p50), MEDIAN(alone, p90), MEDIAN(alone, p99), MEDIAN(beside, p50),
           MEDIAN(beside, p90), MEDIAN(beside, p99), MEDIAN(ratio, p50), MEDIAN(ratio, p90),
           MEDIAN(ratio, p99));
    (void)fflush(stdout);
}

static void neighbours_commands(void **state)
{
    printf("%-28s %20s  %20s  %17s\n%-28s %6s %6s %6s  %6s %6s %6s  %5s %5s %5s\n",
           "flood of a neighbour", "alone, ms", "beside it, ms", "ratio", "", "p50", "p90", "p99",
           "p50", "p90", "p99", "p50", "p90", "p99");
    for (size_t i = 0; i < sizeof(FLOODS) / sizeof(FLOODS[0]); i++) {
        if (strncmp(FLOODS[i].name, wanted, strlen(wanted)) == 0) {
            measure_flood(*state, &FLOODS[i]);
        }
    }
}

static int start(void **state)
{
    if (fixture_start(state) < 0) {
        return -1;
    }
    host_open(&host, *state);
    /* This process stands for the server, which does so. */
    slice_shorten();
    return 0;
}

static int stop(void **state)
{
    host_close(&host);
    return fixture_stop(state);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(neighbours_commands)};
    limits.cpu_millis = argc > 1 ? (uint32_t)atoi(argv[1]) : limits.cpu_millis;
    wanted = argc > 2 ? argv[2] : wanted;
    return fixture_can_run() ? cmocka_run_group_tests(tests, start, stop) : fixture_skip();
}
