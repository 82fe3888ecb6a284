/* The posture of live processes, seen from the host and from inside, equals posture.h. */
#include "tests/jail/posture.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "sandboxd/init/start.h"
#include "tests/jail/box.h"
#include "tests/jail/posture_check.h"

#define IDS_PER_SANDBOX 65536U

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

/* A command that waits for input and catches no signal, and has threads before and after. */
static uint64_t start_echo(uint32_t user, uint32_t flags, int ret_fds[3])
{
    const char *const argv[] = {"/workspace/probe", "threads", NULL};
    const struct nest_spawn options = {
        .user = user, .flags = flags | NEST_KEEP_INPUT, .rows = 24, .columns = 80, .cwd = "/"};
    install_probe();
    struct nest_reply reply = jail_spawn_with(&box, &options, argv, ret_fds);
    assert_int_equal(reply.error, 0);
    return reply.command;
}

static void check_command(uint32_t user, uint32_t flags, const struct posture *posture)
{
    int fds[3];
    uint64_t command = start_echo(user, flags, fds);
    posture_await_cat(fds);
    posture_await_cat(fds);
    assert_in_range(posture_check_command(&box, posture_command_pid(&box), posture), 6, 6);
    jail_end_input(&box, command, fds);
    jail_wait(&box, command, &run);
}

static void plain_command_is_confined(void **state)
{
    (void)state;
    check_command(NEST_USER, 0, &POSTURE_USER);
}

static void root_command_is_confined(void **state)
{
    (void)state;
    check_command(NEST_ROOT, 0, &POSTURE_ROOT);
}

/* A line, since a terminal hands over nothing less; it comes back as an echo, and from the probe.
 */
static void terminal_command_is_confined(void **state)
{
    int fds[3];
    char said[64];
    uint64_t command = start_echo(NEST_USER, NEST_TERMINAL, fds);
    (void)state;
    assert_int_equal(write(fds[2], "x\n", 2), 2);
    for (size_t got = 0; got < 6;) {
        ssize_t more = read(fds[0], said + got, sizeof(said) - got);
        assert_true(more > 0);
        got += (size_t)more;
    }
    assert_memory_equal(said, "x\r\nx\r\n", 6);
    assert_in_range(posture_check_command(&box, posture_command_pid(&box), &POSTURE_TERMINAL), 4,
                    6);
    pid_t relay = posture_relay_pid(&box);
    assert_true(relay > 0);
    posture_check_lines(relay, POSTURE_RELAY, sizeof(POSTURE_RELAY) / sizeof(POSTURE_RELAY[0]));
    posture_check_namespaces(relay);
    posture_check_cgroups(&box, relay);
    jail_end_input(&box, command, fds);
    jail_wait(&box, command, &run);
}

/* How old it is to get: CROWNEST_TEST_AGE_S, 1 without it. */
static void an_old_command_is_confined(void **state)
{
    const char *age = getenv("CROWNEST_TEST_AGE_S");
    struct timespec rest = {.tv_sec = age != NULL ? atoi(age) : 1};
    int fds[3];
    uint64_t command = start_echo(NEST_USER, 0, fds);
    (void)state;
    posture_await_cat(fds);
    while (nanosleep(&rest, &rest) < 0) {
    }
    posture_await_cat(fds);
    assert_in_range(posture_check_command(&box, posture_command_pid(&box), &POSTURE_USER), 6, 6);
    jail_end_input(&box, command, fds);
    jail_wait(&box, command, &run);
}

/* The host's root directory. */
static void hand_directory(const struct sockaddr_un *address)
{
    union {
        char buffer[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    char byte = 'x';
    struct iovec iov = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.buffer,
                             .msg_controllen = sizeof(control.buffer)};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    int peer = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int dir = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &dir, sizeof(dir));
    assert_int_equal(connect(peer, (const struct sockaddr *)address, sizeof(*address)), 0);
    assert_int_equal(sendmsg(peer, &message, 0), 1);
    close(peer);
    close(dir);
}

static void landlock_holds_whatever_leaks_in(void **state)
{
    const char *const layers[] = {"/workspace/probe", "layers", NULL};
    const char *const directory[] = {"/workspace/probe", "directory", "/tmp/s", NULL};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fds[3];
    char said[256] = {0};
    (void)state;
    install_probe();
    jail_run(&box, NEST_USER, "/", layers, &run);
    if (strcmp(run.out, "0") == 0) {
        skip(); /* a kernel without it, as --check-host says */
    }
    assert_int_equal(atoi(run.out), POSTURE_LANDLOCK_LAYERS);
    struct nest_reply reply = jail_spawn(&box, NEST_ROOT, "/", directory, fds);
    assert_int_equal(reply.error, 0);
    assert_int_equal(read(fds[0], said, sizeof(said)), 6);
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "/proc/%d/root/tmp/s",
                   posture_command_pid(&box));
    hand_directory(&address);
    jail_wait(&box, reply.command, &run);
    memset(said, 0, sizeof(said));
    assert_true(read(fds[0], said, sizeof(said) - 1) > 0);
    assert_string_equal(said, "open(etc/passwd) EACCES\nopen(tmp) EACCES\n"
                              "create(tmp/crownest-leak) EACCES\nexec(bin/true) EACCES\n");
    for (int i = 0; i < 3; i++) {
        close(fds[i]);
    }
}

/* It keeps what it uses: no network but a loopback of its own that is down, and no other right. */
static void sandboxd_is_confined_too(void **state)
{
    const struct jail_daemon *daemon = *state;
    char path[64];
    struct stat mine;
    struct stat theirs;
    posture_check_lines(daemon->pid, POSTURE_SANDBOXD,
                        sizeof(POSTURE_SANDBOXD) / sizeof(POSTURE_SANDBOXD[0]));
    (void)snprintf(path, sizeof(path), "/proc/%d/ns/net", daemon->pid);
    assert_int_equal(stat("/proc/self/ns/net", &mine), 0);
    assert_int_equal(stat(path, &theirs), 0);
    assert_true(mine.st_ino != theirs.st_ino);
    const char *devices = posture_read_proc(daemon->pid, "net/dev");
    assert_non_null(strstr(devices, "lo:"));
    const char *last = strstr(strstr(devices, "lo:"), "\n");
    assert_string_equal(last, "\n");
}

static void init_is_out_of_reach(void **state)
{
    static const struct posture INIT = {"init", NEST_INIT_ID, POSTURE_BOUNDING, "", ""};
    char path[64];
    char target[128] = {0};
    struct stat st;
    pid_t pid = posture_init_pid(&box);
    (void)state;
    posture_check_ids(pid, &INIT);
    posture_check_namespaces(pid);
    posture_check_mounts(pid);
    posture_check_cgroups(&box, pid);
    posture_check_limits(pid, NEST_INIT_FILES);
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
        TEST(terminal_command_is_confined),
        TEST(an_old_command_is_confined),
        TEST(landlock_holds_whatever_leaks_in),
        TEST(sandboxd_is_confined_too),
        TEST(init_is_out_of_reach),
        TEST(forbidden_calls_are_refused),
        TEST(nothing_of_the_host_is_in_sight),
        TEST(sandboxes_do_not_share_ids),
    };
    return fixture_main(tests);
}
