/*
 * Whatever call of sandboxd, of its builders or of a jail's first process fails: a creation says
 * which step it was and leaves nothing behind, a removal can be asked for again, and sandboxd
 * serves on. Each call in turn fails once, until there is none left to fail; see faulty.h.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/jail/faulty.h"
#include "tests/jail/fixture.h"

#define MANY 2000 /* more calls than any of it makes */

static struct faults *faults;
static char faults_path[512];

static void choose(uint32_t own, uint32_t children)
{
    memset(faults, 0, sizeof(*faults));
    faults->own = own;
    faults->children = children;
}

static bool has_failed(void)
{
    return faults->failed[0] != '\0';
}

static bool is_there(const char *dir, const char *name)
{
    char path[1024];
    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    return access(path, F_OK) == 0;
}

/* Groups in every hierarchy, and the two notes in the run directory. */
static void assert_nothing_of(const struct jail_daemon *daemon, const char *id)
{
    char path[600];
    DIR *dir = opendir("/sys/fs/cgroup");
    assert_non_null(dir);
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

static void assert_said(const struct sd_reply *reply)
{
    if (reply->error >= 0 || reply->step[0] == '\0' || reply->detail[0] == '\0') {
        fail_msg("%s failed, and the answer was %d, step `%s`, detail `%s`", faults->failed,
                 reply->error, reply->step, reply->detail);
    }
}

static struct sd_reply create(struct jail_daemon *daemon, struct jail_box *box)
{
    struct sd_request request;
    int fds[SD_FD_COUNT];
    jail_fill_create(daemon, &request);
    struct sd_reply reply = jail_ask(daemon, &request, fds);
    *box = (struct jail_box){.control = fds[SD_FD_CONTROL], .pidfd = fds[SD_FD_PIDFD]};
    memcpy(box->id, request.sandbox, SD_ID_SIZE);
    return reply;
}

static void a_step_that_fails_is_named_and_leaves_nothing(void **state)
{
    struct jail_daemon *daemon = *state;
    struct jail_box box;
    unsigned int failures = 0;
    bool more = true;
    for (uint32_t n = 1; more && n < MANY; n++) {
        choose(0, n);
        struct sd_reply reply = create(daemon, &box);
        more = has_failed();
        failures += reply.error < 0;
        if (reply.error < 0) {
            assert_said(&reply);
        } else {
            /* Some failures are of no consequence. */
            choose(0, 0);
            assert_int_equal(jail_kill(daemon, &box).error, 0);
        }
        assert_nothing_of(daemon, box.id);
    }
    assert_false(more);
    print_message("%u calls whose failure fails a creation\n", failures);
    assert_true(failures > 100);
}

static void a_removal_that_fails_can_be_repeated(void **state)
{
    struct jail_daemon *daemon = *state;
    struct jail_box box;
    unsigned int failures = 0;
    bool more = true;
    for (uint32_t n = 1; more && n < MANY; n++) {
        choose(0, 0);
        assert_int_equal(create(daemon, &box).error, 0);
        choose(0, n);
        struct sd_reply reply = jail_kill(daemon, &box);
        more = has_failed();
        choose(0, 0);
        if (reply.error < 0) {
            assert_said(&reply);
            struct sd_request again = jail_request(daemon, SD_KILL, box.id);
            assert_int_equal(jail_ask(daemon, &again, NULL).error, 0);
            failures++;
        }
        assert_nothing_of(daemon, box.id);
    }
    assert_false(more);
    assert_true(failures > 3);
}

static void reconnect(struct jail_daemon *daemon)
{
    close(daemon->socket);
    daemon->socket = jail_connect(daemon);
    struct sd_request hello = jail_request(daemon, SD_HELLO, NULL);
    assert_int_equal(jail_ask(daemon, &hello, NULL).error, 0);
}

/* False: it closed the connection, as when it can neither read nor answer. */
static bool ask(struct jail_daemon *daemon, const struct sd_request *request,
                struct sd_reply *ret_reply)
{
    int fds[SD_FD_COUNT];
    jail_send(daemon->socket, request);
    struct pollfd wait = {.fd = daemon->socket, .events = POLLIN};
    if (poll(&wait, 1, 5000) != 1) {
        fail_msg("no answer to request %u after %s failed", request->op, faults->failed);
    }
    if (!jail_receive(daemon->socket, ret_reply, fds)) {
        return false;
    }
    for (size_t i = 0; i < SD_FD_COUNT; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
    return true;
}

static void kill_surely(struct jail_daemon *daemon, const char *id)
{
    struct sd_reply reply;
    do {
        struct sd_request request = jail_request(daemon, SD_KILL, id);
        reply = jail_ask(daemon, &request, NULL);
    } while (reply.error == -EBUSY || reply.error == -EALREADY);
    assert_true(reply.error == 0 || reply.error == -ENOENT);
}

/* A note whose own removal failed lies there until the next start. */
static void remove_notes(const struct jail_daemon *daemon, const char *id)
{
    static const char *const DIRS[] = {"inventory", "control"};
    for (size_t i = 0; i < 2; i++) {
        char path[512];
        (void)snprintf(path, sizeof(path), "%s/run/%s/%.30s", daemon->dir, DIRS[i], id);
        (void)unlink(path);
    }
}

/* A life of one: everything but the wait for its end. */
static bool live(struct jail_daemon *daemon, const char *id, struct sd_request *create_it)
{
    static const uint32_t OPS[] = {SD_STATS, SD_FREEZE, SD_INVENTORY, SD_THAW, SD_ADOPT, SD_KILL};
    struct sd_reply reply;
    bool connected = ask(daemon, create_it, &reply);
    if (connected && reply.error < 0) {
        assert_said(&reply);
        return true;
    }
    for (size_t i = 0; connected && i < sizeof(OPS) / sizeof(OPS[0]); i++) {
        struct sd_request request =
            jail_request(daemon, OPS[i], OPS[i] == SD_INVENTORY ? NULL : id);
        connected = ask(daemon, &request, &reply);
        while (connected && OPS[i] == SD_INVENTORY && reply.sandbox[0] != '\0') {
            int fds[SD_FD_COUNT];
            connected = jail_receive(daemon->socket, &reply, fds);
        }
    }
    return connected;
}

static void sandboxd_serves_on_whatever_fails_in_it(void **state)
{
    struct jail_daemon *daemon = *state;
    bool more = true;
    for (uint32_t n = 1; more && n < MANY; n++) {
        struct sd_request request;
        jail_fill_create(daemon, &request);
        choose(n, 0);
        bool connected = live(daemon, request.sandbox, &request);
        bool note_failed = strcmp(faults->failed, "unlinkat") == 0;
        more = has_failed();
        faults->own = 0;
        if (!connected) {
            reconnect(daemon);
        }
        kill_surely(daemon, request.sandbox);
        if (note_failed) {
            remove_notes(daemon, request.sandbox);
        }
        assert_nothing_of(daemon, request.sandbox);
    }
    assert_false(more);
    struct jail_box box;
    static struct jail_run run;
    jail_create(daemon, &box);
    jail_shell(&box, "echo well", &run);
    assert_string_equal(run.out, "well\n");
    assert_int_equal(jail_kill(daemon, &box).error, 0);
}

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
    choose(n, 0);
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
    for (uint32_t n = 1; more && n < MANY; n++) {
        int code = start_with(socket, run, n, SIGTERM, said);
        more = has_failed();
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

static uint32_t state_of(struct jail_daemon *daemon, const char *id)
{
    struct sd_request request = jail_request(daemon, SD_INVENTORY, NULL);
    struct sd_reply reply = jail_ask(daemon, &request, NULL);
    uint32_t found = 0;
    int none[SD_FD_COUNT];
    while (reply.sandbox[0] != '\0') {
        found = memcmp(reply.sandbox, id, SD_ID_SIZE) == 0 ? reply.state : found;
        assert_true(jail_receive(daemon->socket, &reply, none));
    }
    return found;
}

/* It takes over what lives, or at the worst says that it is dead; nothing is forgotten. */
static void a_start_that_fails_loses_no_sandbox(void **state)
{
    struct jail_daemon *daemon = *state;
    struct jail_box box;
    char run[96];
    char said[256];
    bool more = true;
    choose(0, 0);
    assert_int_equal(create(daemon, &box).error, 0);
    (void)snprintf(run, sizeof(run), "%s/run", daemon->dir);
    for (uint32_t n = 1; more && n < MANY; n++) {
        jail_crash(daemon);
        (void)start_with(daemon->socket_path, run, n, SIGKILL, said);
        more = has_failed();
        choose(0, 0);
        jail_relaunch(daemon);
        assert_int_equal(state_of(daemon, box.id), SD_STATE_RUNNING);
    }
    assert_false(more);
    assert_int_equal(jail_kill(daemon, &box).error, 0);
    assert_nothing_of(daemon, box.id);
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
    choose(0, 0);
    jail_start(&other);
    choose(1, 0);
    faults->error = ENOTBLK;
    (void)strcpy(faults->only, "mount");
    jail_create(&other, &box);
    assert_true(has_failed());
    jail_shell(&box, "echo on a device", &run);
    assert_string_equal(run.out, "on a device\n");
    assert_int_equal(jail_kill(&other, &box).error, 0);
    jail_stop(&other);
}

static int start(void **state)
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

static int stop(void **state)
{
    choose(0, 0);
    (void)unlink(faults_path);
    return fixture_stop(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_that_fails_is_named_and_leaves_nothing),
        cmocka_unit_test(a_removal_that_fails_can_be_repeated),
        cmocka_unit_test(sandboxd_serves_on_whatever_fails_in_it),
        cmocka_unit_test(a_start_that_fails_says_why_in_a_line),
        cmocka_unit_test(a_start_that_fails_loses_no_sandbox),
        cmocka_unit_test(a_kernel_without_files_as_images_gets_loop_devices),
    };
    return fixture_can_run() ? cmocka_run_group_tests(tests, start, stop) : fixture_skip();
}
