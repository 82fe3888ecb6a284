#include "tests/jail/faults.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define ENDING_MS 5000

struct faults *faults;
static char faults_path[512];

int faults_start(void **state)
{
    const char *dir = getenv("TEST_TMPDIR");
    (void)snprintf(faults_path, sizeof(faults_path), "%s/faults-%d", dir != NULL ? dir : "/tmp",
                   getpid());
    int fd = open(faults_path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, sizeof(*faults)) < 0) {
        return -1;
    }
    faults = mmap(NULL, sizeof(*faults), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    /* Whoever measures coverage names another build of it. */
    if (faults == MAP_FAILED || setenv("CROWNEST_TEST_FAULTS", faults_path, 1) < 0 ||
        setenv("CROWNEST_TEST_SANDBOXD", "tests/jail/sandboxd_faulty", 0) < 0) {
        return -1;
    }
    return fixture_start(state);
}

int faults_stop(void **state)
{
    faults_choose(0, 0, 0);
    (void)unlink(faults_path);
    return fixture_stop(state);
}

void faults_choose(uint32_t own, uint32_t children, uint32_t jails)
{
    memset(faults, 0, sizeof(*faults));
    faults->own = own;
    faults->children = children;
    faults->jails = jails;
}

bool faults_failed(void)
{
    return faults->failed[0] != '\0';
}

static unsigned int count_lines(const char *path)
{
    FILE *file = fopen(path, "re");
    unsigned int count = 0;
    assert_non_null(file);
    for (int c = fgetc(file); c != EOF; c = fgetc(file)) {
        count += c == '\n';
    }
    (void)fclose(file);
    return count;
}

static unsigned int count_entries(const char *path)
{
    DIR *dir = opendir(path);
    unsigned int count = 0;
    assert_non_null(dir);
    while (readdir(dir) != NULL) {
        count++;
    }
    closedir(dir);
    return count;
}

/* Those that ended and were not waited for yet are among them. */
static bool has_children(const struct jail_daemon *daemon)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%d/task/%d/children", daemon->pid, daemon->pid);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    bool any = fgetc(file) != EOF;
    (void)fclose(file);
    return any;
}

struct faults_belongings faults_belongings(struct jail_daemon *daemon)
{
    struct faults_belongings found;
    char path[64];
    /* It does one thing after the other: now it is done with all that was asked before. */
    (void)faults_state_of(daemon, "");
    (void)snprintf(path, sizeof(path), "/proc/%d/fd", daemon->pid);
    found.descriptors = count_entries(path);
    (void)snprintf(path, sizeof(path), "/proc/%d/mountinfo", daemon->pid);
    found.mounts = count_lines(path);
    return found;
}

static bool is_there(const char *dir, const char *name)
{
    char path[1024];
    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    return access(path, F_OK) == 0;
}

static void assert_no_traces(const struct jail_daemon *daemon, const char *id)
{
    char path[600];
    DIR *dir = opendir("/sys/fs/cgroup");
    assert_non_null(dir);
    /* "." is among them, for a host that has the v2 tree alone. */
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        (void)snprintf(path, sizeof(path), "/sys/fs/cgroup/%s/crownest", e->d_name);
        assert_false(is_there(path, id));
    }
    closedir(dir);
    (void)snprintf(path, sizeof(path), "%s/run/inventory", daemon->dir);
    assert_false(is_there(path, id));
    (void)snprintf(path, sizeof(path), "%s/run/control", daemon->dir);
    assert_false(is_there(path, id));
}

void faults_assert_nothing_of(struct jail_daemon *daemon, const char *id,
                              const struct faults_belongings *before)
{
    assert_no_traces(daemon, id);
    assert_int_equal(faults_state_of(daemon, id), 0);
    struct faults_belongings now = faults_belongings(daemon);
    if (now.descriptors != before->descriptors || now.mounts != before->mounts) {
        fail_msg("after %s failed: %u descriptors instead of %u, %u mounts instead of %u",
                 faults->failed, now.descriptors, before->descriptors, now.mounts, before->mounts);
    }
    /* A builder ends after its last word, and nobody is told when it was waited for. */
    for (int ms = 0; has_children(daemon); ms++) {
        assert_true(ms < ENDING_MS);
        (void)poll(NULL, 0, 1);
    }
}

void faults_assert_said(const struct sd_reply *reply)
{
    if (reply->error >= 0 || reply->step[0] == '\0' || reply->detail[0] == '\0') {
        fail_msg("%s failed, and the answer to %u was %d, step `%s`, detail `%s`", faults->failed,
                 reply->op, reply->error, reply->step, reply->detail);
    }
}

uint32_t faults_state_of(struct jail_daemon *daemon, const char *id)
{
    struct sd_request request = jail_request(daemon, SD_INVENTORY, NULL);
    struct sd_reply reply = jail_ask(daemon, &request, NULL);
    uint32_t found = 0;
    int none[SD_FD_COUNT];
    while (reply.sandbox[0] != '\0') {
        found = strncmp(reply.sandbox, id, SD_ID_SIZE) == 0 ? reply.state : found;
        assert_true(jail_receive(daemon->socket, &reply, none));
    }
    return found;
}
