/* How sandboxd is called, and what it says of the host. */
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/jail/fixture.h"

#define OUTPUT_SIZE 8192

struct setting {
    const char *path; /* NULL: the host as it is */
    const char *value;
    uid_t uid;
};

static const char *binary(void)
{
    const char *path = getenv("CROWNEST_TEST_SANDBOXD");
    return path != NULL ? path : "sandboxd/sandboxd";
}

/* In a mount namespace of its own, where a file with another value lies over the setting. */
static void put_setting(const struct setting *setting)
{
    char path[] = "/tmp/crownest-setting-XXXXXX";
    int fd = mkstemp(path);
    if (fd < 0 || write(fd, setting->value, strlen(setting->value)) < 0 || fchmod(fd, 0444) < 0 ||
        unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount(path, setting->path, NULL, MS_BIND, NULL) < 0) {
        perror(setting->path);
        _exit(98);
    }
    (void)unlink(path);
}

/* Returns the exit code. */
static int run(const char *const argv[], const struct setting *setting,
               char ret_output[OUTPUT_SIZE])
{
    int output[2];
    int status;
    size_t length = 0;
    ssize_t got;
    assert_int_equal(pipe2(output, O_CLOEXEC), 0);
    /* Whoever runs it need not be able to reach it. */
    int program = open(binary(), O_RDONLY | O_CLOEXEC);
    assert_true(program >= 0);
    pid_t pid = fork();
    if (pid == 0) {
        if (setting != NULL && setting->path != NULL) {
            put_setting(setting);
        }
        if (setting != NULL && setting->uid != 0 && setuid(setting->uid) < 0) {
            _exit(97);
        }
        dup2(output[1], 1);
        dup2(output[1], 2);
        fexecve(program, (char **)(uintptr_t)argv, environ);
        _exit(99);
    }
    close(program);
    close(output[1]);
    while ((got = read(output[0], ret_output + length, OUTPUT_SIZE - 1 - length)) > 0) {
        length += (size_t)got;
    }
    ret_output[length] = '\0';
    close(output[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void wrong_calls_get_the_usage(void **state)
{
    static const char *const CASES[][12] = {
        {"sandboxd", NULL},
        {"sandboxd", "--nonsense", NULL},
        {"sandboxd", "--socket", "/s", "--run-dir", "/r", "--templates", "/t", NULL},
        {"sandboxd", "--socket", "/s", "--run-dir", "/r", "--templates", "/t", "--client-uid", "x",
         NULL},
        {"sandboxd", "--socket", "/s", "--run-dir", "/r", "--templates", "/t", "--client-uid", "-1",
         NULL},
        {"sandboxd", "--socket", "/s", "--run-dir", "/r", "--templates", "/t", "--client-uid",
         "4294967295", NULL},
        {"sandboxd", "--ready-fd", "3x", "--check-host", NULL},
        {"sandboxd", "--socket", NULL},
    };
    char output[OUTPUT_SIZE];
    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        assert_int_equal(run(CASES[i], NULL, output), 2);
        assert_non_null(strstr(output, "usage: sandboxd"));
    }
}

static void paths_that_cannot_be_used_are_named(void **state)
{
    char missing[] = "/nonexistent/dir";
    char output[OUTPUT_SIZE];
    char socket[200];
    static char long_dir[PATH_MAX];
    const char *const no_run_dir[] = {"sandboxd", "--socket",    "/run/s", "--run-dir",
                                      missing,    "--templates", "/",      "--client-uid",
                                      "0",        NULL};
    const char *const no_templates[] = {
        "sandboxd",    "--socket", "/run/s",       "--run-dir", "/run/crownest-start-test",
        "--templates", missing,    "--client-uid", "0",         NULL};
    const char *const long_socket[] = {
        "sandboxd",    "--socket", socket,         "--run-dir", "/run/crownest-start-test",
        "--templates", "/",        "--client-uid", "0",         NULL};
    const char *const long_run_dir[] = {"sandboxd", "--socket",    "/run/s", "--run-dir",
                                        long_dir,   "--templates", "/",      "--client-uid",
                                        "0",        NULL};
    (void)state;
    assert_int_equal(run(no_run_dir, NULL, output), 1);
    assert_non_null(strstr(output, missing));
    assert_int_equal(run(no_templates, NULL, output), 1);
    assert_non_null(strstr(output, missing));
    memset(socket, 'x', sizeof(socket) - 1);
    socket[sizeof(socket) - 1] = '\0';
    assert_int_equal(run(long_socket, NULL, output), 1);
    assert_non_null(strstr(output, "xxx"));
    /* One that the kernel takes, and to which nothing can be added. */
    for (size_t i = 0; i + 2 < sizeof(long_dir); i += 2) {
        memcpy(long_dir + i, "/.", 3);
    }
    assert_int_equal(run(long_run_dir, NULL, output), 1);
    assert_non_null(strstr(output, "File name too long"));
    assert_int_equal(system("rm -r /run/crownest-start-test"), 0);
}

static void the_host_is_good_enough(void **state)
{
    const char *const argv[] = {"sandboxd", "--check-host", NULL};
    char output[OUTPUT_SIZE];
    (void)state;
    assert_int_equal(run(argv, NULL, output), 0);
    assert_non_null(strstr(output, "ok       user namespaces\n"));
    assert_non_null(strstr(output, "ok       cgroup layout: v"));
    assert_null(strstr(output, "missing"));
}

/* Each host setting that weakens isolation is named, with its remedy. */
static void weaknesses_are_named_with_their_remedies(void **state)
{
    static const struct {
        struct setting setting;
        const char *line;
        int code;
    } CASES[] = {
        {{"/proc/swaps", "Filename Type\n/dev/sda2 partition\n", 0},
         "weak     no swap, which tenants' memory may reach: swapoff",
         0},
        {{"/sys/kernel/mm/ksm/run", "1\n", 0}, "weak     kernel same-page merging off: echo 0", 0},
        {{"/proc/sys/fs/suid_dumpable", "2\n", 0}, "weak     no dumps of privileged processes", 0},
        {{"/proc/sys/kernel/core_pattern", "|/bin/x\n", 0},
         "weak     no program of the host reads",
         0},
        {{"/proc/sys/kernel/kptr_restrict", "0\n", 0}, "weak     kernel addresses hidden", 0},
        {{"/proc/sys/kernel/kptr_restrict", "1\n", 0}, "ok       kernel addresses hidden", 0},
        {{"/proc/sys/kernel/dmesg_restrict", "0\n", 0}, "weak     kernel log for root only", 0},
        {{"/proc/sys/kernel/unprivileged_bpf_disabled", "0\n", 0}, "weak     bpf for root only", 0},
        {{"/proc/sys/kernel/perf_event_paranoid", "-1\n", 0},
         "weak     perf events for root only",
         0},
        {{"/proc/sys/vm/unprivileged_userfaultfd", "1\n", 0},
         "weak     userfaultfd for root only",
         0},
        {{"/proc/sys/kernel/yama/ptrace_scope", "0\n", 0},
         "weak     tracing of child processes only: sysctl",
         0},
        {{"/proc/sys/kernel/unprivileged_userns_clone", "1\n", 0},
         "weak     user namespaces for root only: sysctl",
         0},
        {{"/proc/sys/vm/nr_hugepages", "16\n", 0},
         "weak     no huge pages that sandboxes could take: sysctl -w vm.nr_hugepages=0",
         0},
        {{"/proc/sys/user/max_user_namespaces", "0\n", 0},
         "missing  user namespaces: sysctl user.max_user_namespaces",
         1},
        {{"/proc/filesystems", "nodev\ttmpfs\n", 0}, "ok       overlayfs", 0},
        {{NULL, NULL, 65534}, "missing  root: start sandboxd as root", 1},
    };
    const char *const argv[] = {"sandboxd", "--check-host", NULL};
    char output[OUTPUT_SIZE];
    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        const char *path = CASES[i].setting.path;
        if (path != NULL && access(path, F_OK) < 0) {
            continue; /* a kernel without it has nothing to say */
        }
        int code = run(argv, &CASES[i].setting, output);
        if (strstr(output, CASES[i].line) == NULL) {
            fail_msg("%s: no line `%s` in\n%s", path, CASES[i].line, output);
        }
        assert_int_equal(code, CASES[i].code);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_calls_get_the_usage),
        cmocka_unit_test(paths_that_cannot_be_used_are_named),
        cmocka_unit_test(the_host_is_good_enough),
        cmocka_unit_test(weaknesses_are_named_with_their_remedies),
    };
    return fixture_can_run() ? cmocka_run_group_tests(tests, NULL, NULL) : fixture_skip();
}
