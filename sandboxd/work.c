#include "sandboxd/work.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandboxd/io.h"
#include "sandboxd/volume.h"

/* Long enough for a loaded host; a process that outlives its SIGKILL so long hangs in the kernel.
 */
#define TEARDOWN_TIMEOUT_MS 10000
#define REMOVE_PAUSE_MS 5
#define REMOVE_ATTEMPTS (TEARDOWN_TIMEOUT_MS / REMOVE_PAUSE_MS)

static int start(struct work *ret_work, int *ret_child_socket, struct sd_err *err)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
        return sd_err_sys(err, "socketpair");
    }
    pid_t daemon = getpid();
    pid_t pid = fork();
    if (pid < 0) {
        (void)sd_err_sys(err, "fork");
        close(pair[0]);
        close(pair[1]);
        return err->code;
    }
    if (pid == 0) {
        sigset_t none;
        sigemptyset(&none);
        close(pair[0]);
        /* What was half done would be finished unseen after its removal. */
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != daemon) {
            _exit(1); /* it had died before */
        }
        (void)sigprocmask(SIG_SETMASK, &none, NULL);
    } else {
        close(pair[1]);
    }
    ret_work->pid = pid;
    ret_work->socket = pair[0];
    *ret_child_socket = pair[1];
    return 0;
}

static _Noreturn void build_main(const struct jail_spec *spec, int socket)
{
    struct work_result result = {0};
    struct jail jail = {0};
    if (jail_build(spec, &jail, &result.err) < 0) {
        (void)io_send_fds(socket, &result, sizeof(result), NULL, 0, 0);
        _exit(1);
    }
    result.pid = jail.pid;
    const int fds[] = {jail.control, jail.pidfd};
    (void)io_send_fds(socket, &result, sizeof(result), fds, 2, 0);
    _exit(0);
}

int work_build(const struct jail_spec *spec, struct work *ret_work, struct sd_err *err)
{
    int socket;
    int error = start(ret_work, &socket, err);
    if (error == 0 && ret_work->pid == 0) {
        build_main(spec, socket);
    }
    return error;
}

/* An exited task leaves its groups a moment after its parent can know. */
static int remove_groups(const char *id)
{
    int error = 0;
    for (int i = 0; i < REMOVE_ATTEMPTS; i++) {
        error = cgroup_remove(id);
        if (error == 0 || error != -EBUSY) {
            return error;
        }
        (void)poll(NULL, 0, REMOVE_PAUSE_MS);
    }
    return error;
}

static int tear_down(const char *id, int pidfd, struct work_result *result)
{
    struct sd_err *err = &result->err;
    if (pidfd >= 0) {
        (void)syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
    }
    int error = cgroup_kill(id);
    if (error < 0 && error != -ENOENT) {
        sd_err_step(err, "kill");
        return sd_err_set(err, -error, "cgroup.kill");
    }
    struct pollfd dead = {.fd = pidfd, .events = POLLIN};
    if (pidfd >= 0 && poll(&dead, 1, TEARDOWN_TIMEOUT_MS) != 1) {
        sd_err_step(err, "kill");
        return sd_err_set(err, ETIMEDOUT, "nest-init does not end");
    }
    error = cgroup_wait_empty(id, TEARDOWN_TIMEOUT_MS);
    if (error < 0) {
        sd_err_step(err, "kill");
        return sd_err_set(err, -error, "processes remain");
    }
    (void)cgroup_get_usage(id, &result->usage);
    error = volume_remove(id);
    if (error < 0) {
        sd_err_step(err, "volume");
        return sd_err_set(err, -error, "destroy the subvolume");
    }
    error = remove_groups(id);
    if (error < 0) {
        sd_err_step(err, "cgroup");
        return sd_err_set(err, -error, "remove cgroups");
    }
    return 0;
}

int work_teardown(const char *id, int pidfd, struct work *ret_work, struct sd_err *err)
{
    int socket;
    /* Without an id it would be the groups of all sandboxes together. */
    if (id[0] == '\0') {
        return sd_err_set(err, EINVAL, "no id to remove");
    }
    int error = start(ret_work, &socket, err);
    if (error == 0 && ret_work->pid == 0) {
        struct work_result result = {0};
        int failed = tear_down(id, pidfd, &result);
        (void)io_send_fds(socket, &result, sizeof(result), NULL, 0, 0);
        _exit(failed < 0 ? 1 : 0);
    }
    return error;
}

void work_finish(struct work *work, struct work_result *ret_result, struct jail *ret_jail)
{
    struct work_result result = {0};
    int fds[2] = {-1, -1};
    size_t count = 0;
    ssize_t got = io_recv_fds(work->socket, &result, sizeof(result), fds, 2, &count);
    close(work->socket);
    work->socket = -1;
    work->pid = 0;
    if (got != (ssize_t)sizeof(result) || (count != 0 && count != 2)) {
        result = (struct work_result){0};
        sd_err_step(&result.err, "builder");
        (void)sd_err_set(&result.err, ECHILD, "ended without a word");
    }
    *ret_result = result;
    *ret_jail = (struct jail){.pid = result.pid, .control = fds[0], .pidfd = fds[1]};
}
