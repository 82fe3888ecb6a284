#include "tests/jail/volume_host.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/jail/fixture.h"

/* A qgroup goes some time after its subvolume, and nothing tells when. */
#define SETTLE_ATTEMPTS 500
#define SETTLE_PAUSE_MS 10

static char path[] = "/run/crownest-volume-XXXXXX";

static bool has_btrfs(void)
{
    return system("grep -qw btrfs /proc/filesystems || modprobe -q btrfs") == 0;
}

const char *volume_missing(void)
{
    /* Who runs tests may have a PATH without what only root needs. */
    (void)setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
    if (!fixture_can_run()) {
        return jail_missing();
    }
    if (!has_btrfs()) {
        return "a kernel with btrfs";
    }
    if (system("{ command -v mkfs.btrfs && command -v btrfs; } >/dev/null") != 0) {
        return "mkfs.btrfs and btrfs (package btrfs-progs)";
    }
    return access("/dev/loop-control", W_OK) < 0 ? "loop devices" : NULL;
}

static void needs_what_the_host_lacks(void **state)
{
    (void)state;
    skip();
}

bool volume_drops_qgroups(void)
{
    struct utsname host;
    unsigned int major = 0;
    unsigned int minor = 0;
    return uname(&host) == 0 && sscanf(host.release, "%u.%u", &major, &minor) == 2 &&
           (major > 6 || (major == 6 && minor >= 10));
}

int volume_skip(const char *missing)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(needs_what_the_host_lacks)};
    printf("skipped: needs %s\n", missing);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

const char *volume_path(void)
{
    return path;
}

static void fill_in(const char *format, char ret_command[512])
{
    const char *at = strstr(format, "%s");
    int before = at == NULL ? (int)strlen(format) : (int)(at - format);
    (void)snprintf(ret_command, 512, "%.*s%s%s", before, format, at == NULL ? "" : path,
                   at == NULL ? "" : at + 2);
}

int volume_shell(const char *format)
{
    char command[512];
    fill_in(format, command);
    int status = system(command);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int volume_count(const char *format, const char *word)
{
    char command[512];
    char line[512];
    int count = 0;
    fill_in(format, command);
    FILE *output = popen(command, "re");
    assert_non_null(output);
    while (fgets(line, sizeof(line), output) != NULL) {
        count += strstr(line, word) != NULL;
    }
    assert_int_equal(pclose(output), 0);
    return count;
}

void volume_open(void)
{
    char image[256];
    char command[2048];
    const char *dir = getenv("TEST_TMPDIR");
    (void)snprintf(image, sizeof(image), "%s/volume-%d", dir != NULL ? dir : "/tmp", getpid());
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mkdtemp(path) == NULL) {
        perror("volume");
        abort();
    }
    /* Small nodes, see volume.h. What is removed goes at a commit. The file goes with the mount. */
    (void)snprintf(command, sizeof(command),
                   "truncate -s %dM %s && mkfs.btrfs -q -n 4096 %s >&2 && "
                   "mount -o loop,commit=1 -t btrfs %s %s; e=$?; rm -f %s; exit $e",
                   VOLUME_MIB, image, image, image, path, image);
    if (system(command) != 0) {
        fprintf(stderr, "volume: cannot be made\n");
        abort();
    }
}

int volume_subvolumes(void)
{
    return volume_count("btrfs subvolume list %s", " path crownest/sbx_");
}

int volume_qgroups(void)
{
    return volume_count("btrfs qgroup show -r %s", "0/") - 1;
}

uint64_t volume_settle(void)
{
    struct statvfs fs;
    assert_int_equal(volume_shell("btrfs subvolume sync %s >/dev/null"), 0);
    for (int i = 0; i < SETTLE_ATTEMPTS && volume_qgroups() != volume_subvolumes(); i++) {
        (void)poll(NULL, 0, SETTLE_PAUSE_MS);
    }
    assert_int_equal(volume_shell("btrfs filesystem sync %s"), 0);
    assert_int_equal(statvfs(path, &fs), 0);
    return fs.f_bfree * fs.f_frsize;
}

int volume_start(void **state)
{
    struct jail_daemon *daemon = malloc(sizeof(*daemon));
    if (daemon == NULL) {
        return -1;
    }
    volume_open();
    jail_start_on(daemon, path);
    *state = daemon;
    return 0;
}

int volume_stop(void **state)
{
    jail_stop(*state);
    free(*state);
    /* Nobody else has it open. */
    return umount(path) < 0 || rmdir(path) < 0 ? -1 : 0;
}
