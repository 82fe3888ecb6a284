/* The posture of live processes, seen from the host and from inside, equals posture.h. */
#include "tests/jail/posture.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/jail/fixture.h"
#include "tests/jail/posture_check.h"

#define INIT_ID 65533U
#define IDS_PER_SANDBOX 65536U

static struct jail_box box;
static struct jail_run run;

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
    posture_await_cat(fds);
    pid_t pid = posture_command_pid(&box);
    posture_check_command(&box, pid, posture);
    jail_end_input(&box, reply.command, fds);
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
    pid_t pid = posture_init_pid(&box);
    (void)state;
    posture_check_ids(pid, &INIT);
    posture_check_namespaces(pid);
    posture_check_mounts(pid);
    posture_check_cgroups(&box, pid);
    posture_check_limits(pid);
    char value[64];
    posture_find_line(posture_read_proc(pid, "status"), "NoNewPrivs", value, sizeof(value));
    assert_string_equal(value, "1");
    posture_find_line(posture_read_proc(pid, "status"), "CapBnd", value, sizeof(value));
    assert_string_equal(value, POSTURE_BOUNDING);
    /* Not dumpable: its files are not its own but inside root's, whom the probe shows refused. */
    (void)snprintf(path, sizeof(path), "/proc/%d/environ", pid);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_uid, posture_id_base(pid));
    assert_string_equal(posture_read_proc(pid, "environ"), "");
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
               "tail -n +3 /proc/net/dev | wc -l; set -- /proc/[0-9]*; echo $#; id",
               &run);
    assert_null(strstr(run.out, host));
    assert_string_equal(
        run.out, "sandbox\nfd\nfull\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\n"
                 "urandom\nzero\n/dev/pts:\nptmx\n\n/dev/shm:\n\n/run:\n\n/tmp:\n0\n1\n1\n"
                 "uid=1000(user) gid=1000(user) groups=1000(user)\n");
}

static void sandboxes_do_not_share_ids(void **state)
{
    struct jail_box first = box;
    unsigned int base = posture_id_base(posture_init_pid(&box));
    jail_create(*state, &box);
    unsigned int other = posture_id_base(posture_init_pid(&box));
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
