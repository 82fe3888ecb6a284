/* The posture of live processes, seen from the host and from inside, equals posture.h. */
#include "tests/jail/posture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/jail/fixture.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define INIT_ID 65533U
#define IDS_PER_SANDBOX 65536U

static struct jail_box box;
static struct jail_run run;
static char text[65536];

static int create_box(void **state)
{
    jail_create(*state, &box);
    return 0;
}

static int kill_box(void **state)
{
    assert_int_equal(jail_kill(*state, &box).error, 0);
    return 0;
}

static const char *read_proc(pid_t pid, const char *name)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    size_t length = 0;
    ssize_t got;
    while ((got = read(fd, text + length, sizeof(text) - 1 - length)) > 0) {
        length += (size_t)got;
    }
    close(fd);
    text[length] = '\0';
    return text;
}

/* The value after "key" and blanks or a colon, to the end of the line. */
static void find_line(const char *in, const char *key, char *ret_value, size_t size)
{
    const char *at = in;
    size_t length = strlen(key);
    while (at != NULL && strncmp(at, key, length) != 0) {
        at = strchr(at, '\n');
        at = at == NULL ? NULL : at + 1;
    }
    if (at == NULL) {
        print_error("no line %s\n", key);
    }
    assert_non_null(at);
    at += length;
    at += strspn(at, ": \t");
    (void)snprintf(ret_value, size, "%.*s", (int)strcspn(at, "\n"), at);
}

/* Nest-init's pid here: what its pidfd refers to. */
static pid_t init_pid(void)
{
    char path[64];
    char value[64];
    (void)snprintf(path, sizeof(path), "fdinfo/%d", box.pidfd);
    find_line(read_proc(getpid(), path), "Pid", value, sizeof(value));
    return atoi(value);
}

/* The only child of nest-init: the command that runs. */
static pid_t command_pid(void)
{
    char path[128];
    pid_t init = init_pid();
    (void)snprintf(path, sizeof(path), "task/%d/children", init);
    return atoi(read_proc(init, path));
}

static unsigned int id_base(pid_t pid)
{
    static const char *const FILES[] = {"uid_map", "gid_map"};
    unsigned int base = 0;
    for (size_t i = 0; i < 2; i++) {
        unsigned int inside;
        unsigned int count;
        assert_int_equal(sscanf(read_proc(pid, FILES[i]), "%u %u %u", &inside, &base, &count), 3);
        assert_int_equal(inside, 0);
        assert_int_equal(count, IDS_PER_SANDBOX);
        assert_true(base >= IDS_PER_SANDBOX);
        assert_int_equal(strchr(text, '\n')[1], '\0');
    }
    return base;
}

static void check_ids(pid_t pid, const struct posture *posture)
{
    static const char *const KEYS[] = {"Uid", "Gid"};
    unsigned int base = id_base(pid);
    char value[256];
    char expected[256];
    unsigned int id = base + posture->id;
    for (size_t i = 0; i < 2; i++) {
        find_line(read_proc(pid, "status"), KEYS[i], value, sizeof(value));
        (void)snprintf(expected, sizeof(expected), "%u\t%u\t%u\t%u", id, id, id, id);
        assert_string_equal(value, expected);
    }
    find_line(read_proc(pid, "status"), "Groups", value, sizeof(value));
    if (posture->groups[0] == '\0') {
        assert_string_equal(value, "");
    } else {
        assert_int_equal(strtoul(value, NULL, 10), base + (unsigned int)atoi(posture->groups));
    }
}

static void check_status(pid_t pid, const struct posture *posture)
{
    char value[256];
    for (size_t i = 0; i < COUNT(POSTURE_STATUS); i++) {
        find_line(read_proc(pid, "status"), POSTURE_STATUS[i].key, value, sizeof(value));
        if (strcmp(value, POSTURE_STATUS[i].value) != 0) {
            print_error("%s\n", POSTURE_STATUS[i].key);
        }
        assert_string_equal(value, POSTURE_STATUS[i].value);
    }
    find_line(read_proc(pid, "status"), "CapEff", value, sizeof(value));
    assert_string_equal(value, posture->effective);
    find_line(read_proc(pid, "status"), "CapPrm", value, sizeof(value));
    assert_string_equal(value, posture->effective);
}

static void check_namespaces(pid_t pid)
{
    for (size_t i = 0; i < COUNT(POSTURE_NAMESPACES); i++) {
        struct stat mine;
        struct stat theirs;
        char path[64];
        (void)snprintf(path, sizeof(path), "/proc/self/ns/%s", POSTURE_NAMESPACES[i]);
        assert_int_equal(stat(path, &mine), 0);
        (void)snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid, POSTURE_NAMESPACES[i]);
        assert_int_equal(stat(path, &theirs), 0);
        assert_true(mine.st_ino != theirs.st_ino);
    }
}

/* One line of mountinfo into what posture.h speaks of. */
static void parse_mount(char *line, char **ret_point, char **ret_options, char **ret_type)
{
    char *rest = NULL;
    char *field = strtok_r(line, " ", &rest);
    for (int i = 1; field != NULL && i < 5; i++) {
        field = strtok_r(NULL, " ", &rest);
    }
    *ret_point = field;
    *ret_options = strtok_r(NULL, " ", &rest);
    char *at = strstr(*ret_options, ",relatime");
    if (at != NULL) {
        memmove(at, at + strlen(",relatime"), strlen(at + strlen(",relatime")) + 1);
    }
    field = strtok_r(NULL, " ", &rest);
    /* No shared:, master: or the like: nothing propagates. */
    assert_string_equal(field, "-");
    *ret_type = strtok_r(NULL, " ", &rest);
}

static void check_mounts(pid_t pid)
{
    char *rest = NULL;
    (void)read_proc(pid, "mountinfo");
    char *line = strtok_r(text, "\n", &rest);
    for (size_t i = 0; i < COUNT(POSTURE_MOUNTS); i++) {
        const struct posture_mount *expected = &POSTURE_MOUNTS[i];
        char *point;
        char *options;
        char *type;
        if (expected->needs != NULL && access(expected->needs, F_OK) < 0) {
            continue;
        }
        assert_non_null(line);
        parse_mount(line, &point, &options, &type);
        assert_string_equal(point, expected->point);
        assert_string_equal(type, expected->type);
        assert_string_equal(options, expected->options);
        line = strtok_r(NULL, "\n", &rest);
    }
    assert_null(line);
}

static void check_descriptors(pid_t pid)
{
    char path[64];
    int count = 0;
    (void)snprintf(path, sizeof(path), "/proc/%d/fd", pid);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        char target[128] = {0};
        if (e->d_name[0] == '.') {
            continue;
        }
        assert_true(readlinkat(dirfd(dir), e->d_name, target, sizeof(target) - 1) > 0);
        assert_in_range(atoi(e->d_name), 0, 2);
        assert_memory_equal(target, "pipe:", 5);
        count++;
    }
    closedir(dir);
    assert_int_equal(count, 3);
}

static void check_limits(pid_t pid)
{
    for (size_t i = 0; i < COUNT(POSTURE_LIMITS); i++) {
        char value[128];
        char soft[32];
        char hard[32];
        char both[70];
        find_line(read_proc(pid, "limits"), POSTURE_LIMITS[i].key, value, sizeof(value));
        assert_int_equal(sscanf(value, "%31s %31s", soft, hard), 2);
        (void)snprintf(both, sizeof(both), "%s %s", soft, hard);
        assert_string_equal(both, POSTURE_LIMITS[i].value);
    }
}

/* Every hierarchy of the host holds the process below crownest/<id>. */
static void check_cgroups(pid_t pid)
{
    char group[64];
    char *rest = NULL;
    (void)snprintf(group, sizeof(group), ":/crownest/%s", box.id);
    (void)read_proc(pid, "cgroup");
    for (char *line = strtok_r(text, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        if (strstr(line, group) == NULL) {
            print_error("%s\n", line);
        }
        assert_non_null(strstr(line, group));
    }
}

static void check_command(uint32_t user, const struct posture *posture)
{
    const char *const argv[] = {"cat", NULL}; /* waits for input, and catches no signal */
    int fds[3];
    struct nest_reply reply = jail_spawn(&box, user, "/", argv, fds);
    assert_int_equal(reply.error, 0);
    /* An echo says that the loader is done: until then it has files open. */
    char echo;
    assert_int_equal(write(fds[2], "x", 1), 1);
    assert_int_equal(read(fds[0], &echo, 1), 1);
    pid_t pid = command_pid();
    check_ids(pid, posture);
    check_status(pid, posture);
    check_namespaces(pid);
    check_mounts(pid);
    check_descriptors(pid);
    check_limits(pid);
    check_cgroups(pid);
    for (int i = 0; i < 3; i++) {
        close(fds[i]);
    }
    jail_wait(&box, reply.command, &run);
}

static void plain_command_is_confined(void **state)
{
    (void)state;
    check_command(NEST_USER, &POSTURE_USER);
}

static void root_command_is_confined(void **state)
{
    (void)state;
    check_command(NEST_ROOT, &POSTURE_ROOT);
}

static void init_is_out_of_reach(void **state)
{
    static const struct posture INIT = {"init", INIT_ID, POSTURE_BOUNDING, ""};
    char path[64];
    char target[128] = {0};
    struct stat st;
    pid_t pid = init_pid();
    (void)state;
    check_ids(pid, &INIT);
    check_namespaces(pid);
    check_mounts(pid);
    check_cgroups(pid);
    check_limits(pid);
    char value[64];
    find_line(read_proc(pid, "status"), "NoNewPrivs", value, sizeof(value));
    assert_string_equal(value, "1");
    find_line(read_proc(pid, "status"), "CapBnd", value, sizeof(value));
    assert_string_equal(value, POSTURE_BOUNDING);
    /* Not dumpable: its files are not its own but inside root's, whom the probe shows refused. */
    (void)snprintf(path, sizeof(path), "/proc/%d/environ", pid);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_uid, id_base(pid));
    assert_string_equal(read_proc(pid, "environ"), "");
    (void)snprintf(path, sizeof(path), "/proc/%d/exe", pid);
    assert_true(readlink(path, target, sizeof(target) - 1) > 0);
    assert_string_equal(target, "/memfd:nest-init (deleted)");
}

/* Copies the probe in and gives it to whoever runs it. */
static void install_probe(void)
{
    static char data[4 << 20];
    const char *path = getenv("CROWNEST_TEST_PROBE");
    int fd = open(path != NULL ? path : "tests/jail/probe", O_RDONLY | O_CLOEXEC);
    ssize_t size = read(fd, data, sizeof(data));
    assert_in_range(size, 1, sizeof(data) - 1);
    assert_int_equal(jail_write(&box, "probe", 0, data, (size_t)size).error, 0);
    jail_shell(&box, "chmod 755 probe", &run);
    close(fd);
}

/* What is covered is /dev/null to whoever opens it. */
static const char *covered(const char *path)
{
    return access(path, F_OK) == 0 ? "ok" : "ENOENT";
}

static void check_probe(uint32_t user, const char *init_memory)
{
    const char *const argv[] = {"/workspace/probe", NULL};
    char expected[sizeof(POSTURE_PROBE) + 32];
    (void)snprintf(expected, sizeof(expected), POSTURE_PROBE, init_memory, covered("/proc/kcore"),
                   covered("/proc/sysrq-trigger"));
    jail_run(&box, user, "/", argv, &run);
    assert_int_equal(run.wait_status, 0);
    assert_string_equal(run.out, expected);
}

static void forbidden_calls_are_refused(void **state)
{
    (void)state;
    install_probe();
    check_probe(NEST_USER, "ENOENT");
    /* Root sees that there is an init, and no more. */
    check_probe(NEST_ROOT, "EACCES");
}

static void nothing_of_the_host_is_in_sight(void **state)
{
    char host[256] = {0};
    (void)state;
    assert_int_equal(gethostname(host, sizeof(host) - 1), 0);
    jail_shell(&box,
               "hostname; ls /sys; ls /dev; ls -A /tmp /run /dev/shm /dev/pts; cat /proc/kcore "
               "/proc/keys /proc/kallsyms /proc/timer_list 2>/dev/null | wc -c; "
               "tail -n +3 /proc/net/dev | wc -l; ls -d /proc/[0-9]* | wc -l; id",
               &run);
    assert_null(strstr(run.out, host));
    assert_string_equal(
        run.out, "sandbox\nfd\nfull\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\n"
                 "urandom\nzero\n/dev/pts:\nptmx\n\n/dev/shm:\n\n/run:\n\n/tmp:\n0\n1\n3\n"
                 "uid=1000(user) gid=1000(user) groups=1000(user)\n");
}

static void sandboxes_do_not_share_ids(void **state)
{
    struct jail_box first = box;
    unsigned int base = id_base(init_pid());
    jail_create(*state, &box);
    unsigned int other = id_base(init_pid());
    assert_true(other >= base + IDS_PER_SANDBOX || base >= other + IDS_PER_SANDBOX);
    assert_int_equal(jail_kill(*state, &box).error, 0);
    box = first;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, create_box, kill_box)
        TEST(plain_command_is_confined),
        TEST(root_command_is_confined),
        TEST(init_is_out_of_reach),
        TEST(forbidden_calls_are_refused),
        TEST(nothing_of_the_host_is_in_sight),
        TEST(sandboxes_do_not_share_ids),
    };
    return fixture_main(tests);
}
