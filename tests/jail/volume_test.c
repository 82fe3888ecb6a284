/*
 * Layers on a btrfs volume end at disk_bytes, however they are filled; what one sandbox does there
 * is not its neighbour's matter, and none of it is memory.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "tests/jail/box.h"
#include "tests/jail/volume_host.h"

#define MIB (1ULL << 20)
#define LIMIT_MIB 32
/* What a jail itself needs of its layer, and what btrfs holds back for a change under way. */
#define SLACK_MIB 4

static const struct sd_limits LIMITS = JAIL_LIMITS(64, 32, 2000, 48);

static int create_small_box(void **state)
{
    jail_create_with(*state, &LIMITS, &box);
    return 0;
}

/* What a shell line prints, as a number. */
static uint64_t number_of(struct jail_box *of, const char *line)
{
    jail_shell(of, line, &run);
    if (run.wait_status != 0) {
        fail_msg("`%s`: %s", line, run.err);
    }
    return strtoull(run.out, NULL, 10);
}

static void assert_at_the_limit(uint64_t bytes)
{
    assert_in_range(bytes, (LIMIT_MIB - SLACK_MIB) * MIB, LIMIT_MIB * MIB);
}

/* Appends to a file until that fails, which must be for EDQUOT; prints the bytes. */
#define FILL "$n = 0; $n += $w while $w = syswrite(F, 'x' x 65536); die $! if $! != 122; print $n"

static void data_ends_at_the_limit(void **state)
{
    (void)state;
    assert_at_the_limit(number_of(&box, "perl -e 'open F, q(>x); " FILL "'"));
    jail_shell(&box, "dd if=/dev/zero of=/tmp/y bs=1M count=100 2>&1", &run);
    assert_non_null(strstr(run.out, "Disk quota exceeded"));
}

static void what_is_deleted_can_be_written_again(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_at_the_limit(number_of(&box, "perl -e 'open F, q(>x); " FILL "' && rm x"));
    }
}

static void reserved_space_counts(void **state)
{
    (void)state;
    jail_shell(&box, "fallocate -l 20M a && fallocate -l 20M b", &run);
    assert_non_null(strstr(run.err, "Disk quota exceeded"));
    jail_shell(&box, "fallocate -l 1T c", &run);
    assert_int_not_equal(run.wait_status, 0);
    jail_shell(&box, "rm -f b c; fallocate -l 5M d", &run);
    assert_int_equal(run.wait_status, 0);
}

static void holes_do_not_count_and_what_is_in_them_does(void **state)
{
    (void)state;
    assert_at_the_limit(number_of(
        &box, "truncate -s 1T x; perl -e 'open F, q(+<x); $n = 0; while (1) { sysseek(F, $i++ << "
              "30, 0); last unless $w = syswrite(F, q(x) x (1 << 20)); $n += $w } die $! if "
              "$! != 122; print $n'"));
}

static void an_unlinked_file_counts_as_long_as_it_is_open(void **state)
{
    (void)state;
    assert_at_the_limit(
        number_of(&box, "perl -e 'open F, q(>x); unlink q(x); " FILL
                        "; open G, q(>y); die q(more) if syswrite(G, q(y) x (8 << 20)) == 8 << 20; "
                        "close F; open G, q(>y); $n = 0; "
                        "$n += syswrite(G, q(y) x 65536) for 1..320; die qq(only $n) "
                        "if $n != 20 << 20'"));
}

/* There is no limit on inodes; they are bytes too. */
static void small_files_end_at_the_limit(void **state)
{
    struct sd_limits small = LIMITS;
    struct jail_box other;
    small.disk_bytes = 2 * MIB;
    small.memory_bytes = 256 * MIB; /* until a commit they are memory, too */
    jail_create_with(*state, &small, &other);
    uint64_t count = number_of(&other, "perl -e '$i = 0; while (1) { open(F, qq(>f$i)) && "
                                       "syswrite(F, q(x)) or last; $i++ } die $! if $! != 122; "
                                       "print $i'");
    print_message("%llu files in %llu bytes\n", (unsigned long long)count,
                  (unsigned long long)small.disk_bytes);
    assert_in_range(count, 1024, small.disk_bytes / 256);
    assert_int_equal(number_of(&other, "rm -r f* && ls | wc -l"), 0);
    assert_int_equal(number_of(&other, "head -c 1M /dev/zero > f && stat -c %s f"), MIB);
    assert_int_equal(jail_kill(*state, &other).error, 0);
}

static void a_neighbour_writes_on(void **state)
{
    struct jail_box neighbour;
    jail_create_with(*state, &LIMITS, &neighbour);
    jail_shell(&box, "dd if=/dev/zero of=x bs=1M count=100", &run);
    assert_at_the_limit(number_of(&neighbour, "perl -e 'open F, q(>x); " FILL "'"));
    assert_int_equal(jail_kill(*state, &neighbour).error, 0);
}

/* As a tmpfs this would be the end of it: the data are twice what it has of memory. */
static void data_are_not_memory(void **state)
{
    struct sd_limits limits = LIMITS;
    struct jail_box other;
    limits.disk_bytes = 160 * MIB;
    jail_create_with(*state, &limits, &other);
    assert_int_equal(number_of(&other, "head -c 128M /dev/zero > x && sync && stat -c %s x"),
                     128 * MIB);
    assert_int_equal(run.oom_kills, 0);
    struct sd_reply reply = jail_kill(*state, &other);
    assert_int_equal(reply.oom_kills, 0);
    assert_true(reply.memory_peak_bytes <= limits.memory_bytes);
}

static void shared_memory_is_memory_and_has_its_own_bound(void **state)
{
    (void)state;
    jail_shell(&box, "stat -f -c %T /dev/shm; stat -c %a:%u:%g /dev/shm; stat -f -c %T /tmp", &run);
    assert_string_equal(run.out, "tmpfs\n1777:0:0\noverlayfs\n");
    jail_shell(&box, "dd if=/dev/zero of=/dev/shm/x bs=1M count=100 2>&1; stat -c %s /dev/shm/x",
               &run);
    assert_non_null(strstr(run.out, "No space left on device"));
    assert_non_null(strstr(run.out, "\n33554432\n"));
    /* And no part of the layer. */
    assert_at_the_limit(number_of(&box, "perl -e 'open F, q(>x); " FILL "'"));
}

/* Nor any other call by which a file system of this kind is managed. */
static void a_sandbox_makes_no_subvolume(void **state)
{
    static const uint32_t USERS[] = {NEST_USER, NEST_ROOT};
    (void)state;
    for (size_t i = 0; i < sizeof(USERS) / sizeof(USERS[0]); i++) {
        const char *const argv[] = {
            "perl", "-e",
            "use Fcntl; sysopen(F, q(/workspace), O_RDONLY | O_DIRECTORY) or die; $a = pack(q(qZ*x"
            "4087), 0, q(sub)); ioctl(F, $_, $a) ? print qq($_ works\\n) : print $! + 0, qq(\\n) "
            "for (0x5000940e, 0x5000940f, 0x40309410, 0x5000941b)",
            NULL};
        jail_run(&box, USERS[i], "/", argv, &run);
        assert_string_equal(run.out, "25\n25\n25\n25\n"); /* ENOTTY */
    }
}

/* More is promised than there is. */
static void a_full_volume_is_emptied_by_a_kill(void **state)
{
    struct sd_limits large = LIMITS;
    struct jail_box first;
    struct jail_box second;
    large.disk_bytes = VOLUME_MIB * MIB;
    jail_create_with(*state, &large, &first);
    jail_create_with(*state, &large, &second);
    jail_shell(&first, "head -c 100M /dev/zero > x; sync", &run);
    assert_int_equal(run.wait_status, 0);
    jail_shell(&second,
               "head -c 320M /dev/zero > x; sync; i=0; while echo $i > f$i; do "
               "i=$((i + 1)); done",
               &run);
    assert_non_null(strstr(run.err, "No space left on device"));
    jail_shell(&box, "head -c 20M /dev/zero > x", &run);
    assert_non_null(strstr(run.err, "No space left on device"));
    assert_int_equal(jail_kill(*state, &second).error, 0);
    (void)volume_settle();
    assert_int_equal(number_of(&box, "head -c 20M /dev/zero > x && stat -c %s x"), 20 * MIB);
    jail_create_with(*state, &large, &second);
    assert_int_equal(jail_kill(*state, &second).error, 0);
    assert_int_equal(jail_kill(*state, &first).error, 0);
}

static bool limits_name(const char *path, dev_t disk)
{
    char wanted[32];
    char line[256];
    bool found = false;
    (void)snprintf(wanted, sizeof(wanted), "%u:%u ", major(disk), minor(disk));
    FILE *file = fopen(path, "re");
    while (file != NULL && !found && fgets(line, sizeof(line), file) != NULL) {
        found = strncmp(line, wanted, strlen(wanted)) == 0;
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return found;
}

static void io_limits_name_the_disk_of_the_volume(void **state)
{
    static const char *const FILES[][2] = {
        {"/sys/fs/cgroup/blkio", "blkio.throttle.write_bps_device"},
        {"/sys/fs/cgroup", "io.max"},
    };
    struct stat st;
    bool found = false;
    bool possible = false;
    (void)state;
    char name[64] = "";
    char command[256];
    (void)snprintf(command, sizeof(command),
                   "findmnt -n -o SOURCE %s || awk '$2 == \"%s\" { "
                   "print $1 }' /proc/mounts",
                   volume_path(), volume_path());
    FILE *source = popen(command, "re");
    assert_non_null(fgets(name, sizeof(name), source));
    (void)pclose(source);
    name[strcspn(name, "\n")] = '\0';
    assert_int_equal(stat(name, &st), 0);
    for (size_t i = 0; i < 2; i++) {
        char path[256];
        (void)snprintf(path, sizeof(path), "%s/crownest/%.31s/%s", FILES[i][0], box.id,
                       FILES[i][1]);
        possible = possible || access(path, F_OK) == 0;
        found = found || limits_name(path, st.st_rdev);
    }
    if (!possible) {
        skip();
    }
    assert_true(found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, create_small_box, kill_box)
        TEST(data_ends_at_the_limit),
        TEST(what_is_deleted_can_be_written_again),
        TEST(reserved_space_counts),
        TEST(holes_do_not_count_and_what_is_in_them_does),
        TEST(an_unlinked_file_counts_as_long_as_it_is_open),
        TEST(small_files_end_at_the_limit),
        TEST(a_neighbour_writes_on),
        TEST(data_are_not_memory),
        TEST(shared_memory_is_memory_and_has_its_own_bound),
        TEST(a_sandbox_makes_no_subvolume),
        TEST(a_full_volume_is_emptied_by_a_kill),
        TEST(io_limits_name_the_disk_of_the_volume),
    };
    return volume_main(tests);
}
