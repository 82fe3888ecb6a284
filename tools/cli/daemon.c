#include "tools/cli/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/util/cleanup.h"
#include "server/util/clock.h"

#define NOFILE_WANTED 1048576

static void raise_file_limit(void)
{
    struct rlimit limit = {.rlim_cur = NOFILE_WANTED, .rlim_max = NOFILE_WANTED};

    if (!setrlimit(RLIMIT_NOFILE, &limit) || getrlimit(RLIMIT_NOFILE, &limit))
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

static void die(const struct daemon_spec *spec, const char *what)
{
    dprintf(STDERR_FILENO, "crownest up: %s: %s: %s\n", spec->name, what, strerror(errno));
    _exit(127);
}

/* Last, since a change of user forgets it. */
static void die_with(const struct daemon_spec *spec, pid_t parent)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL))
        die(spec, "cannot be tied to its starter");
    if (getppid() != parent)
        _exit(127);
}

/* In the child, of a process with one thread: what fork left is safe to use. */
static void become(const struct daemon_spec *spec, int binary, int ready, pid_t parent)
{
    static char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    char *environment[] = {path, NULL};
    sigset_t none;

    (void)setpgid(0, 0);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)signal(SIGPIPE, SIG_DFL);
    (void)umask(022);
    raise_file_limit();
    if (chdir("/"))
        die(spec, "/");
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null < 0 || dup2(null, STDIN_FILENO) < 0)
        die(spec, "/dev/null");
    if (spec->log_fd >= 0 &&
        (dup2(spec->log_fd, STDOUT_FILENO) < 0 || dup2(spec->log_fd, STDERR_FILENO) < 0))
        die(spec, "log");
    /* The binary's descriptor is moved out of the way of the one the daemon is told about. */
    binary = fcntl(binary, F_DUPFD_CLOEXEC, DAEMON_READY_FD + 1);
    ready = fcntl(ready, F_DUPFD_CLOEXEC, DAEMON_READY_FD + 1);
    if (binary < 0 || ready < 0 || dup2(ready, DAEMON_READY_FD) < 0 ||
        close_range(DAEMON_READY_FD + 1, ~0U, CLOSE_RANGE_CLOEXEC))
        die(spec, "descriptors");
    if (spec->uid && (setgroups(0, NULL) || setresgid(spec->gid, spec->gid, spec->gid) ||
                      setresuid(spec->uid, spec->uid, spec->uid)))
        die(spec, "cannot change to its user");
    die_with(spec, parent);
    (void)execveat(binary, "", (char *const *)spec->args, environment, AT_EMPTY_PATH);
    die(spec, spec->path);
}

int daemon_start(const struct daemon_spec *spec, struct daemon *ret_daemon, struct err *ret_err)
{
    int pipe_fds[2];
    cleanup_fd int binary = open(spec->path, O_PATH | O_CLOEXEC);

    if (binary < 0)
        return err_set(ret_err, errno, "%s: %s", spec->path, strerror(errno));
    if (pipe2(pipe_fds, O_CLOEXEC))
        return err_set(ret_err, errno, "pipe: %s", strerror(errno));
    cleanup_fd int ready = pipe_fds[0];
    cleanup_fd int child_end = pipe_fds[1];
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid < 0)
        return err_set(ret_err, errno, "fork: %s", strerror(errno));
    if (!pid)
        become(spec, binary, child_end, parent);
    int pidfd = pidfd_open(pid, 0);
    if (pidfd < 0) {
        int error = errno;

        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
        return err_set(ret_err, error, "pidfd_open: %s", strerror(error));
    }
    *ret_daemon = (struct daemon){
        .name = spec->name, .pid = pid, .pidfd = pidfd, .ready_fd = take_fd(&ready)};
    return 0;
}

/* What the daemon wrote: 0 when it is "READY\n", else how it ended, for there was nothing else. */
int daemon_take_ready(struct daemon *daemon, struct err *ret_err)
{
    char line[16] = {0};
    char how[64];
    ssize_t len = read(daemon->ready_fd, line, sizeof(line) - 1);

    (void)close(daemon->ready_fd);
    daemon->ready_fd = -1;
    if (len > 0 && !strcmp(line, "READY\n"))
        return 0;
    struct pollfd end = {.fd = daemon->pidfd, .events = POLLIN};
    if (len == 0 && poll(&end, 1, 1000) == 1 && daemon_reap(daemon, how, sizeof(how)))
        return err_set(ret_err, ECHILD, "%s ended before it was ready: %s", daemon->name, how);
    return err_set(ret_err, ECHILD, "%s does not say that it is ready", daemon->name);
}

int daemon_await_ready(struct daemon *daemon, int signals, int timeout_ms, struct err *ret_err)
{
    struct pollfd polls[2] = {{.fd = daemon->ready_fd, .events = POLLIN},
                              {.fd = signals, .events = POLLIN}};
    int count = poll(polls, 2, timeout_ms);

    if (count == 0)
        return err_set(ret_err, ETIMEDOUT, "%s was not ready after %d s", daemon->name,
                       timeout_ms / 1000);
    if (count < 0 || polls[1].revents)
        return err_set(ret_err, EINTR, "interrupted while %s was starting", daemon->name);
    return daemon_take_ready(daemon, ret_err);
}

bool daemon_reap(struct daemon *daemon, char *ret_how, size_t size)
{
    siginfo_t info = {0};

    if (waitid(P_PIDFD, (id_t)daemon->pidfd, &info, WEXITED | WNOHANG) || !info.si_pid)
        return false;
    if (info.si_code == CLD_EXITED)
        (void)snprintf(ret_how, size, "exit code %d", info.si_status);
    else
        (void)snprintf(ret_how, size, "signal %d", info.si_status);
    (void)close(daemon->pidfd);
    if (daemon->ready_fd >= 0)
        (void)close(daemon->ready_fd);
    *daemon = (struct daemon){.name = daemon->name, .pidfd = -1, .ready_fd = -1};
    return true;
}

/* Signals that arrive meanwhile must not shorten the wait. */
static bool await_end(const struct daemon *daemon, int timeout_ms)
{
    struct pollfd end = {.fd = daemon->pidfd, .events = POLLIN};
    uint64_t deadline = clock_monotonic_ms() + (uint64_t)timeout_ms;

    for (;;) {
        uint64_t now = clock_monotonic_ms();
        int count = poll(&end, 1, now < deadline ? (int)(deadline - now) : 0);

        if (count > 0)
            return true;
        if (count == 0)
            return false;
    }
}

bool daemon_stop(struct daemon *daemon, int timeout_ms)
{
    char how[64] = "";

    if (!daemon->pid)
        return true;
    (void)pidfd_send_signal(daemon->pidfd, SIGTERM, NULL, 0);
    bool in_time = await_end(daemon, timeout_ms);
    if (!in_time) {
        fprintf(stderr, "crownest up: %s did not stop within %d s and is killed\n", daemon->name,
                timeout_ms / 1000);
        (void)pidfd_send_signal(daemon->pidfd, SIGKILL, NULL, 0);
        (void)await_end(daemon, timeout_ms);
    }
    bool reaped = daemon_reap(daemon, how, sizeof(how));
    bool clean = in_time && reaped && !strcmp(how, "exit code 0");
    if (in_time && !clean)
        fprintf(stderr, "crownest up: %s stopped with %s\n", daemon->name, how);
    return clean;
}
