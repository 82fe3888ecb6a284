/*
 * Whatever call fails while sandboxd starts: it ends with a line that says why, and no sandbox of
 * an earlier one is lost. Each in turn fails once, until there is none left to fail.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/jail/faults.h"

/*
 * Starts one whose n-th call fails, and ends it with the signal if it comes to serve: then -1. Or
 * returns its exit code.
 */
static int start_with(const char *socket, const char *run, uint32_t n, int signo,
                      char ret_said[256])
{
    int output[2];
    int ready[2];
    int status;
    char number[16];
    assert_int_equal(pipe2(output, O_CLOEXEC), 0);
    assert_int_equal(pipe(ready), 0);
    (void)snprintf(number, sizeof(number), "%d", ready[1]);
    faults_choose(n, 0, 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(output[1], 2);
        /* Nothing is read of the templates before the first sandbox, and no disk is behind these.
         */
        execl(getenv("CROWNEST_TEST_SANDBOXD"), "sandboxd", "--socket", socket, "--run-dir", run,
              "--templates", "/dev/shm", "--client-uid", "0", "--ready-fd", number, (char *)NULL);
        _exit(99);
    }
    close(output[1]);
    close(ready[1]);
    char word[8];
    bool serves = read(ready[0], word, sizeof(word)) == 6;
    if (serves) {
        assert_int_equal(kill(pid, signo), 0);
    }
    ssize_t length = read(output[0], ret_said, 255);
    ret_said[length > 0 ? length : 0] = '\0';
    assert_int_equal(waitpid(pid, &status, 0), pid);
    close(output[0]);
    close(ready[0]);
    assert_true(WIFEXITED(status) || (serves && signo == SIGKILL));
    return serves ? -1 : WEXITSTATUS(status);
}

static void a_start_that_fails_says_why_in_a_line(void **state)
{
    char dir[] = "/run/crownest-fault-XXXXXX";
    char socket[64];
    char run[64];
    char said[256];
    char command[600];
    unsigned int failures = 0;
    bool more = true;
    (void)state;
    assert_non_null(mkdtemp(dir));
    (void)snprintf(socket, sizeof(socket), "%s/s", dir);
    (void)snprintf(run, sizeof(run), "%s/r", dir);
    for (uint32_t n = 1; more && n < FAULTS_MANY; n++) {
        int code = start_with(socket, run, n, SIGTERM, said);
        more = faults_failed();
        if (code < 0) {
            continue;
        }
        failures++;
        assert_int_equal(code, 1);
        assert_memory_equal(said, "sandboxd: ", 10);
        assert_ptr_equal(strchr(said, '\n'), said + strlen(said) - 1);
    }
    assert_false(more);
    assert_true(failures > 50);
    (void)snprintf(command, sizeof(command), "rm -r %s", dir);
    assert_int_equal(system(command), 0);
}

/* It takes over what lives, or at the worst says that it is dead; nothing is forgotten. */
static void a_start_that_fails_loses_no_sandbox(void **state)
{
    struct jail_daemon *daemon = *state;
    struct jail_box box;
    char run[96];
    char said[256];
    bool more = true;
    faults_choose(0, 0, 0);
    jail_create(daemon, &box);
    (void)snprintf(run, sizeof(run), "%s/run", daemon->dir);
    for (uint32_t n = 1; more && n < FAULTS_MANY; n++) {
        jail_crash(daemon);
        (void)start_with(daemon->socket_path, run, n, SIGKILL, said);
        more = faults_failed();
        faults_choose(0, 0, 0);
        jail_relaunch(daemon);
        assert_int_equal(faults_state_of(daemon, box.id), SD_STATE_RUNNING);
    }
    assert_false(more);
    assert_int_equal(jail_kill(daemon, &box).error, 0);
    assert_int_equal(faults_state_of(daemon, box.id), 0);
}

/* Before Linux 6.12 erofs refuses a file, and wants a device. */
static void a_kernel_without_files_as_images_gets_loop_devices(void **state)
{
    struct jail_daemon other;
    struct jail_box box;
    static struct jail_run run;
    (void)state;
    if (access("/dev/loop-control", F_OK) < 0) {
        skip();
    }
    faults_choose(0, 0, 0);
    jail_start(&other);
    faults_choose(1, 0, 0);
    faults->error = ENOTBLK;
    (void)strcpy(faults->only, "mount");
    jail_create(&other, &box);
    assert_true(faults_failed());
    jail_shell(&box, "echo on a device", &run);
    assert_string_equal(run.out, "on a device\n");
    assert_int_equal(jail_kill(&other, &box).error, 0);
    jail_stop(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_start_that_fails_says_why_in_a_line),
        cmocka_unit_test(a_start_that_fails_loses_no_sandbox),
        cmocka_unit_test(a_kernel_without_files_as_images_gets_loop_devices),
    };
    return fixture_can_run() ? cmocka_run_group_tests(tests, faults_start, faults_stop)
                             : fixture_skip();
}
