/* After many lives of sandboxes, everything that the host counts is as it was before. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/jail/fixture.h"

#define DEFAULT_CYCLES 300 /* CROWNEST_TEST_CYCLES is another number */
#define CYCLES_MAX 20000
#define WARM_UP 5
#define SETTLE_ATTEMPTS 2000
/* Of sandboxd's own memory, which may grow by a page here and there but not by the cycle. */
#define MEMORY_SLACK_KB 512

struct counts {
    int processes;  /* below sandboxd */
    int namespaces; /* that they and sandboxd are in, of all kinds */
    int descriptors;
    int mounts;
    int directories; /* and files, in the run directory */
    int cgroups;     /* of sandboxes of this test, in all hierarchies */
    long memory_kb;
};

static char made[CYCLES_MAX + WARM_UP][SD_ID_SIZE];
static int made_count;

static int cycles(void)
{
    const char *text = getenv("CROWNEST_TEST_CYCLES");
    int count = text != NULL ? atoi(text) : DEFAULT_CYCLES;
    return count < 1 || count > CYCLES_MAX ? DEFAULT_CYCLES : count;
}

static int count_entries(const char *path)
{
    DIR *dir = opendir(path);
    int count = 0;
    assert_non_null(dir);
    while (readdir(dir) != NULL) {
        count++;
    }
    closedir(dir);
    return count - 2;
}

static int count_lines(const char *path)
{
    FILE *file = fopen(path, "re");
    int count = 0;
    assert_non_null(file);
    for (int c = getc(file); c != EOF; c = getc(file)) {
        count += c == '\n';
    }
    (void)fclose(file);
    return count;
}

static long status_number(pid_t pid, const char *key)
{
    char path[64];
    char line[256];
    long number = -1;
    (void)snprintf(path, sizeof(path), "/proc/%d/status", pid);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return -1; /* has just ended */
    }
    while (fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, key, strlen(key)) == 0) {
            number = strtol(line + strlen(key), NULL, 10);
        }
    }
    (void)fclose(file);
    return number;
}

/* sandboxd is the reaper of all that it started, so its children are all that is left. */
static int count_children(pid_t parent)
{
    int count = 0;
    DIR *dir = opendir("/proc");
    assert_non_null(dir);
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        pid_t pid = atoi(e->d_name);
        count += pid > 0 && status_number(pid, "PPid:\t") == parent;
    }
    closedir(dir);
    return count;
}

static int count_cgroups(void)
{
    FILE *mounts = setmntent("/proc/self/mounts", "re");
    int count = 0;
    assert_non_null(mounts);
    for (struct mntent *m = getmntent(mounts); m != NULL; m = getmntent(mounts)) {
        if (strncmp(m->mnt_type, "cgroup", 6) != 0) {
            continue;
        }
        for (int i = 0; i < made_count; i++) {
            char path[512];
            (void)snprintf(path, sizeof(path), "%.200s/crownest/%.31s", m->mnt_dir, made[i]);
            count += access(path, F_OK) == 0;
        }
    }
    endmntent(mounts);
    return count;
}

/* Namespaces end with their last process, descriptor or mount; only the last two could hide one. */
static int count_namespaces(pid_t pid)
{
    char path[64];
    int count = 0;
    (void)snprintf(path, sizeof(path), "/proc/%d/fd", pid);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        char target[128] = {0};
        if (readlinkat(dirfd(dir), e->d_name, target, sizeof(target) - 1) > 0) {
            count += strstr(target, ":[") != NULL && strncmp(target, "socket:", 7) != 0 &&
                     strncmp(target, "pipe:", 5) != 0;
        }
    }
    closedir(dir);
    (void)snprintf(path, sizeof(path), "/proc/%d/mounts", pid);
    FILE *mounts = setmntent(path, "re");
    assert_non_null(mounts);
    for (struct mntent *m = getmntent(mounts); m != NULL; m = getmntent(mounts)) {
        count += strcmp(m->mnt_type, "nsfs") == 0;
    }
    endmntent(mounts);
    return count;
}

static int count_tree(const struct jail_daemon *daemon)
{
    static const char *const DIRS[] = {"",
                                       "/run",
                                       "/run/stage",
                                       "/run/images",
                                       "/run/control",
                                       "/run/inventory",
                                       "/run/stage/root",
                                       "/run/stage/upper",
                                       "/run/stage/lower"};
    int count = 0;
    for (size_t i = 0; i < sizeof(DIRS) / sizeof(DIRS[0]); i++) {
        char path[128];
        (void)snprintf(path, sizeof(path), "%s%s", daemon->dir, DIRS[i]);
        count += count_entries(path);
    }
    return count;
}

static struct counts take(const struct jail_daemon *daemon)
{
    char fds[64];
    char mounts[64];
    (void)snprintf(fds, sizeof(fds), "/proc/%d/fd", daemon->pid);
    (void)snprintf(mounts, sizeof(mounts), "/proc/%d/mounts", daemon->pid);
    return (struct counts){
        .processes = count_children(daemon->pid),
        .namespaces = count_namespaces(daemon->pid),
        .descriptors = count_entries(fds),
        .mounts = count_lines(mounts) + count_lines("/proc/self/mounts"),
        .directories = count_tree(daemon),
        .cgroups = count_cgroups(),
        .memory_kb = status_number(daemon->pid, "VmRSS:"),
    };
}

/* Typed into, and left as it is. */
static void use_terminal(struct jail_box *box)
{
    const char *const argv[] = {"cat", NULL};
    const struct nest_spawn options = {.user = NEST_USER,
                                       .flags = NEST_TERMINAL | NEST_KEEP_INPUT,
                                       .rows = 24,
                                       .columns = 80,
                                       .cwd = "/"};
    char echo[7] = {0};
    int fds[3];
    struct nest_reply reply = jail_spawn_with(box, &options, argv, fds);
    assert_int_equal(reply.error, 0);
    assert_int_equal(jail_input(box, reply.command, 0, "hello", 5, false).size_bytes, 5);
    for (ssize_t got = 0, more; got < 5; got += more) {
        more = read(fds[0], echo + got, (size_t)(5 - got));
        assert_true(more > 0);
    }
    for (int f = 0; f < 3; f++) {
        close(fds[f]);
    }
}

/* Nobody listens there; what is asked is answered, and leaves nothing either. */
static void use_port(struct jail_box *box)
{
    int fd = -1;
    assert_int_equal(jail_connect_port(box, 8080, &fd).error, -ECONNREFUSED);
    assert_int_equal(fd, -1);
}

static void live_once(struct jail_daemon *daemon, int i)
{
    static struct jail_run run;
    struct jail_box box;
    jail_create(daemon, &box);
    memcpy(made[made_count++], box.id, SD_ID_SIZE);
    assert_int_equal(jail_write(&box, "f", 0, "x", 1).error, 0);
    /* Some leave processes behind, some are killed in the middle of one. */
    jail_shell(&box, i % 3 == 0 ? "setsid sleep 1000 & cat f" : "cat f", &run);
    assert_string_equal(run.out, "x");
    use_port(&box);
    use_terminal(&box);
    if (i % 4 == 0) {
        const char *const argv[] = {"sleep", "1000", NULL};
        int fds[3];
        assert_int_equal(jail_spawn(&box, NEST_ROOT, "/", argv, fds).error, 0);
        for (int f = 0; f < 3; f++) {
            close(fds[f]);
        }
    }
    assert_int_equal(jail_kill(daemon, &box).error, 0);
}

/*
 * A reply may overtake the end of the child that did the work. Nothing tells a stranger when a
 * zombie is reaped, so this asks again and again; what stays is found by the counts.
 */
static void settle(const struct jail_daemon *daemon)
{
    for (int i = 0; i < SETTLE_ATTEMPTS && count_children(daemon->pid) > 0; i++) {
        (void)poll(NULL, 0, 1);
    }
}

static void cycles_leave_nothing(void **state)
{
    struct jail_daemon *daemon = *state;
    for (int i = 0; i < WARM_UP; i++) {
        live_once(daemon, i);
    }
    settle(daemon);
    struct counts before = take(daemon);
    for (int i = 0; i < cycles(); i++) {
        live_once(daemon, i);
    }
    settle(daemon);
    struct counts after = take(daemon);
    assert_int_equal(after.processes, before.processes);
    assert_int_equal(after.processes, 0);
    assert_int_equal(after.namespaces, before.namespaces);
    assert_int_equal(after.descriptors, before.descriptors);
    assert_int_equal(after.mounts, before.mounts);
    assert_int_equal(after.directories, before.directories);
    assert_int_equal(after.cgroups, 0);
    assert_in_range(after.memory_kb, 1, before.memory_kb + MEMORY_SLACK_KB);
}

/* One life whose traces are looked for while it lasts: shows that the counts can see them. */
static void counts_see_a_living_sandbox(void **state)
{
    struct jail_daemon *daemon = *state;
    struct jail_box box;
    settle(daemon);
    struct counts before = take(daemon);
    jail_create(daemon, &box);
    made_count = 0;
    memcpy(made[made_count++], box.id, SD_ID_SIZE);
    struct counts during = take(daemon);
    assert_true(during.processes > before.processes);
    assert_int_equal(during.descriptors, before.descriptors + 1);
    assert_int_equal(during.directories, before.directories + 2);
    assert_true(during.cgroups >= 1);
    assert_int_equal(jail_kill(daemon, &box).error, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cycles_leave_nothing),
        cmocka_unit_test(counts_see_a_living_sandbox),
    };
    return fixture_main(tests);
}
