/* What becomes of a sandbox's subvolume: its end, what an earlier life left, and who may have it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/jail/fixture.h"
#include "tests/jail/volume_host.h"

#define CYCLES 100
/* An image of this size has its free space in pieces; some nodes of trees come and go. */
#define FREE_SLACK_BYTES (2ULL << 20)
#define LOST                                                                                       \
    "cat /sys/fs/btrfs/$(btrfs filesystem show %s | sed -n 's/.*uuid: //p')/qgroups/inconsistent"
#define STRANGER "sbx_00000000000000000000000000"

static const struct sd_limits LIMITS = JAIL_LIMITS(128, 16, 2000, 48);
static struct jail_run run;

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void a_kill_leaves_neither_subvolume_nor_qgroup(void **state)
{
    struct jail_box box;
    jail_create_with(*state, &LIMITS, &box);
    assert_int_equal(volume_subvolumes(), 1);
    assert_int_equal(volume_qgroups(), 1);
    assert_int_equal(volume_count("btrfs qgroup show -re --raw %s", " 16777216 "), 1);
    assert_int_equal(jail_kill(*state, &box).error, 0);
    assert_int_equal(volume_subvolumes(), 0);
    (void)volume_settle();
    assert_int_equal(volume_qgroups(), 0);
}

static void live_once(struct jail_daemon *daemon, int i)
{
    struct jail_box box;
    const char *const argv[] = {"sh", "-c", "exec 5>/tmp/open; rm /tmp/open; sleep 1000", NULL};
    int fds[3];
    jail_create_with(daemon, &LIMITS, &box);
    jail_shell(&box, "mkdir d; head -c 4M /dev/zero | tee d/x > y; ln -s y z; echo well", &run);
    assert_string_equal(run.out, "well\n");
    if (i % 4 == 0) {
        assert_int_equal(jail_spawn(&box, NEST_ROOT, "/", argv, fds).error, 0);
        for (int f = 0; f < 3; f++) {
            close(fds[f]);
        }
    }
    assert_int_equal(jail_kill(daemon, &box).error, 0);
}

static void cycles_leave_nothing(void **state)
{
    live_once(*state, 0);
    uint64_t before = volume_settle();
    for (int i = 0; i < CYCLES / jail_slowness(); i++) {
        live_once(*state, i);
    }
    assert_int_equal(volume_subvolumes(), 0);
    uint64_t after = volume_settle();
    assert_int_equal(volume_qgroups(), 0);
    assert_in_range(after, before - FREE_SLACK_BYTES, before + FREE_SLACK_BYTES);
    assert_int_equal(volume_count("ls -A %s/crownest", ""), 0);
}

/* The kernel forgets them all at once; nobody walks the tree. */
static void many_files_are_removed_at_once(void **state)
{
    struct jail_box box;
    struct sd_limits limits = LIMITS;
    int slowness = jail_slowness();
    limits.disk_bytes /= (uint64_t)slowness;
    jail_create_with(*state, &limits, &box);
    jail_shell(&box, "perl -e '$i++ while open F, qq(>f$i); print $i'", &run);
    assert_true(atoi(run.out) > 10000 / slowness);
    int64_t start = now_ms();
    assert_int_equal(jail_kill(*state, &box).error, 0);
    assert_in_range(now_ms() - start, 0, fixture_kill_limit_ms());
    print_message("%s files: %lld ms\n", run.out, (long long)(now_ms() - start));
    (void)volume_settle();
    assert_int_equal(volume_qgroups(), 0);
}

/* By id: whatever else lies there is not its own. */
static void leftovers_of_an_earlier_life_are_removed(void **state)
{
    struct jail_daemon *daemon = *state;
    struct jail_box box;
    jail_create_with(daemon, &LIMITS, &box);
    jail_shell(&box, "echo kept > x", &run);
    jail_crash(daemon);
    assert_int_equal(volume_shell("btrfs -q subvolume create %s/crownest/" STRANGER), 0);
    assert_int_equal(volume_shell("d=%s/crownest/" STRANGER "; mkdir $d/a; echo 1 > $d/a/b"), 0);
    assert_int_equal(volume_shell("btrfs -q subvolume create %s/crownest/other"), 0);
    jail_relaunch(daemon);
    assert_int_equal(volume_count("ls %s/crownest", STRANGER), 0);
    assert_int_equal(volume_count("ls %s/crownest", "other"), 1);
    jail_adopt(daemon, &box);
    jail_hello(&box);
    jail_shell(&box, "cat x && head -c 1M /dev/zero > y && echo writes", &run);
    assert_string_equal(run.out, "kept\nwrites\n");
    assert_int_equal(jail_kill(daemon, &box).error, 0);
    assert_int_equal(volume_shell("btrfs -q subvolume delete %s/crownest/other"), 0);
    (void)volume_settle();
    assert_int_equal(volume_qgroups(), 0);
}

/* A limit that the kernel does not count for holds nobody. */
static void lost_count_is_taken_again(void **state)
{
    struct jail_daemon *daemon = *state;
    jail_crash(daemon);
    assert_int_equal(
        volume_shell("cd %s && btrfs -q subvolume create a && head -c 1M /dev/zero > a/x &&"
                     "sync && btrfs -q subvolume snapshot a b && btrfs qgroup create 1/0 . &&"
                     "btrfs qgroup assign --no-rescan 0/$(btrfs inspect-internal rootid a) 1/0 . "
                     "2>/dev/null; sync"),
        0);
    assert_int_equal(volume_count(LOST, "1"), 1);
    jail_relaunch(daemon);
    assert_int_equal(volume_count(LOST, "1"), 0);
    assert_int_equal(volume_shell("cd %s && btrfs -q subvolume delete a b && "
                                  "btrfs subvolume sync . >/dev/null && "
                                  "btrfs qgroup destroy 1/0 ."),
                     0);
    (void)volume_settle();
}

/* Starts another one; returns its exit code, and what it said of a start that failed. */
static int start_another(const char *volume, char ret_said[256])
{
    char command[512];
    (void)snprintf(command, sizeof(command),
                   "exec %s --socket /run/crownest-other/s --run-dir /run/crownest-other "
                   "--templates /dev/shm --client-uid 0 --volume %s 2>&1",
                   getenv("CROWNEST_TEST_SANDBOXD"), volume);
    FILE *output = popen(command, "re");
    assert_non_null(output);
    ret_said[0] = '\0';
    assert_non_null(fgets(ret_said, 256, output));
    return WEXITSTATUS(pclose(output));
}

static void a_volume_is_one_sandboxds_alone(void **state)
{
    char said[256];
    (void)state;
    assert_int_equal(start_another(volume_path(), said), 1);
    assert_non_null(strstr(said, "in use by another sandboxd"));
}

static void what_is_no_volume_is_refused(void **state)
{
    char said[256];
    char other[128];
    (void)state;
    assert_int_equal(start_another("/dev/shm", said), 1);
    assert_string_equal(said, "sandboxd: /dev/shm is not on btrfs: Operation not supported\n");
    assert_int_equal(start_another("/nonexistent", said), 1);
    assert_string_equal(said, "sandboxd: /nonexistent: No such file or directory\n");
    (void)snprintf(other, sizeof(other), "%s/other", volume_path());
    assert_int_equal(volume_shell("mkdir -p %s/other/crownest"), 0);
    assert_int_equal(start_another(other, said), 1);
    assert_non_null(strstr(said, "must be root's, mode 0700"));
    assert_int_equal(volume_shell("cd %s/other && rmdir crownest && ln -s .. crownest"), 0);
    assert_int_equal(start_another(other, said), 1);
    assert_non_null(strstr(said, "crownest on the volume: "));
    assert_int_equal(volume_shell("rm -r %s/other; rm -rf /run/crownest-other;"
                                  "true"),
                     0);
}

static void the_check_says_which_kind_of_layer(void **state)
{
    static const struct {
        const char *arguments;
        const char *line;
    } CASES[] = {
        {"--check-host", "ok       writable layer: tmpfs charged to memory\n"},
        {"--check-host --volume %s", "ok       writable layer: btrfs subvolume with qgroup at "},
        {"--check-host --volume /dev/shm", "missing  writable layer: /dev/shm is not on btrfs"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        char command[256];
        (void)snprintf(command, sizeof(command), "\"$CROWNEST_TEST_SANDBOXD\" %s || true",
                       CASES[i].arguments);
        assert_int_equal(volume_count(command, CASES[i].line), 1);
        assert_int_equal(volume_count(command, "writable layer"), 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_kill_leaves_neither_subvolume_nor_qgroup),
        cmocka_unit_test(cycles_leave_nothing),
        cmocka_unit_test(many_files_are_removed_at_once),
        cmocka_unit_test(leftovers_of_an_earlier_life_are_removed),
        cmocka_unit_test(lost_count_is_taken_again),
        cmocka_unit_test(a_volume_is_one_sandboxds_alone),
        cmocka_unit_test(what_is_no_volume_is_refused),
        cmocka_unit_test(the_check_says_which_kind_of_layer),
    };
    return volume_drops_qgroups()
               ? volume_main(tests)
               : volume_skip("Linux 6.10, which removes the qgroup of a subvolume with it");
}
