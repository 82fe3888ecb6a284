/* A command is a cgroup: where its processes are, and what the sandbox's groups say and do. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/jail/box.h"
#include "tests/jail/group_file.h"
#include "tests/jail/posture_check.h"

#define PEAK_BYTES (40U << 20)

static const struct sd_limits LIMITS = JAIL_LIMITS(96, 16, 1500, 77);

static int create_small_box(void **state)
{
    jail_create_with(*state, &LIMITS, &box);
    return 0;
}

/* The group of the v2 tree, below "crownest/<id>". */
static void assert_group(pid_t pid, const char *below)
{
    char value[256];
    char expected[256];
    posture_find_line(posture_read_proc(pid, "cgroup"), "0", value, sizeof(value));
    (void)snprintf(expected, sizeof(expected), "/crownest/%s%s", box.id, below);
    assert_string_equal(value, expected);
}

static void each_command_has_its_group(void **state)
{
    const char *const argv[] = {"cat", NULL};
    (void)state;
    /* Where commands have controllers, their parent must have no process of its own. */
    bool unified = access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0;
    assert_group(posture_init_pid(&box), unified ? "/init" : "");
    for (int i = 1; i <= 2; i++) {
        char group[16];
        int fds[3];
        struct nest_reply reply = jail_spawn(&box, NEST_USER, "/", argv, fds);
        assert_int_equal(reply.error, 0);
        (void)snprintf(group, sizeof(group), "/c-%d", i);
        assert_group(posture_command_pid(&box), group);
        jail_end_input(&box, reply.command, fds);
        jail_wait(&box, reply.command, &run);
    }
}

/* False on the other layout. */
static bool limit_is(const char *hierarchy, const char *name, const char *expected)
{
    char value[GROUP_VALUE_SIZE];
    if (!group_read(box.id, hierarchy, name, value)) {
        return false;
    }
    assert_string_equal(value, expected);
    return true;
}

static void limits_are_in_the_groups(void **state)
{
    (void)state;
    assert_true(limit_is("", "memory.max", "100663296") ||
                limit_is("/memory", "memory.limit_in_bytes", "100663296"));
    assert_true(limit_is("", "cpu.max", "150000 100000") ||
                limit_is("/cpu", "cpu.cfs_quota_us", "150000"));
    assert_true(limit_is("", "pids.max", "77") || limit_is("/pids", "pids.max", "77"));
}

/* "major:minor" of the disk that holds the templates, as the limit's file repeats it. */
static void io_limit_is_in_the_group(void **state)
{
    char path[256];
    char line[256] = {0};
    const char *dir = access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0 ? "" : "/blkio";
    const char *name = dir[0] == '\0' ? "io.max" : "blkio.throttle.write_bps_device";
    (void)state;
    (void)snprintf(path, sizeof(path), "/sys/fs/cgroup%s/crownest/%s/%s", dir, box.id, name);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        skip(); /* a host without the controller, as --check-host says */
    }
    assert_non_null(fgets(line, sizeof(line), file));
    (void)fclose(file);
    assert_non_null(strstr(line, dir[0] == '\0' ? "wbps=1073741824" : " 1073741824"));
}

static void usage_is_that_of_all_that_ran(void **state)
{
    char line[128];
    struct sd_reply reply;
    (void)snprintf(line, sizeof(line), "perl -e '$x = \"a\" x %u; print length $x'", PEAK_BYTES);
    jail_shell(&box, line, &run);
    assert_true(run.cpu_usec > 0);
    /* Where the host counts memory by command. */
    if (run.memory_peak_bytes != 0) {
        assert_in_range(run.memory_peak_bytes, PEAK_BYTES, LIMITS.memory_bytes);
    }
    jail_shell(&box, "true", &run);
    assert_true(run.memory_peak_bytes < PEAK_BYTES);
    reply = jail_kill(*state, &box);
    assert_int_equal(reply.error, 0);
    assert_int_equal(reply.oom_kills, 0);
    assert_in_range(reply.memory_peak_bytes, PEAK_BYTES, LIMITS.memory_bytes);
    assert_true(reply.cpu_usec >= run.cpu_usec);
}

static void a_busy_sandbox_yields_until_it_is_calm(void **state)
{
    static const struct sd_limits half = JAIL_LIMITS(96, 16, 500, 77);
    const char *const argv[] = {"perl", "-e", "if (!fork) { 1 while 1 } <STDIN>", NULL};
    char cpus[GROUP_VALUE_SIZE];
    int fds[3];
    jail_create_with(*state, &half, &box);
    struct nest_reply reply = jail_spawn(&box, NEST_USER, "/", argv, fds);
    assert_int_equal(reply.error, 0);
    assert_true(group_await(box.id, "/cpu", "cpu.idle", "1") ||
                group_await(box.id, "", "cpu.idle", "1"));
    /* One CPU, since two would not make it faster. */
    if (group_read(box.id, "/cpuset", "cpuset.cpus", cpus) ||
        group_read(box.id, "", "cpuset.cpus", cpus)) {
        assert_int_equal(strspn(cpus, "0123456789"), strlen(cpus));
    }
    jail_end_input(&box, reply.command, fds);
    jail_wait(&box, reply.command, &run);
    assert_true(group_await(box.id, "/cpu", "cpu.shares", "514") ||
                group_await(box.id, "", "cpu.weight", "51"));
    assert_true(limit_is("/cpu", "cpu.idle", "0") || limit_is("", "cpu.idle", "0"));
    if (sysconf(_SC_NPROCESSORS_ONLN) > 1 && group_read(box.id, "/cpuset", "cpuset.cpus", cpus)) {
        assert_true(strspn(cpus, "0123456789") < strlen(cpus));
    }
    assert_int_equal(jail_kill(*state, &box).error, 0);
}

static void usage_is_known_while_it_runs(void **state)
{
    struct jail_daemon *daemon = *state;
    struct sd_request request = jail_request(daemon, SD_STATS, box.id);
    struct sd_reply reply = jail_ask(daemon, &request, NULL);
    assert_int_equal(reply.error, 0);
    assert_in_range(reply.processes, 1, LIMITS.max_processes);
    assert_in_range(reply.memory_bytes, 1, LIMITS.memory_bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_command_has_its_group, create_small_box, kill_box),
        cmocka_unit_test_setup_teardown(limits_are_in_the_groups, create_small_box, kill_box),
        cmocka_unit_test_setup_teardown(io_limit_is_in_the_group, create_small_box, kill_box),
        cmocka_unit_test(a_busy_sandbox_yields_until_it_is_calm),
        cmocka_unit_test_setup_teardown(usage_is_known_while_it_runs, create_small_box, kill_box),
        cmocka_unit_test_setup(usage_is_that_of_all_that_ran, create_small_box),
    };
    return fixture_main(tests);
}
