/*
 * nest-init: PID 1 of a sandbox. Reaps, and does for the server what is safest done from inside.
 * What runs beside it is hostile: it has an id of its own, cannot be dumped or traced, holds no
 * secret, and no signal from inside ends it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandboxd/init/command.h"
#include "sandboxd/init/exec.h"
#include "sandboxd/init/landlock.h"
#include "sandboxd/init/nest.h"
#include "sandboxd/init/request.h"
#include "sandboxd/init/spawn.h"
#include "sandboxd/init/start.h"
#include "sandboxd/init/worker.h"

#define MAX_EVENTS 32
#define NUMBER_CONTROL UINT64_MAX
#define NUMBER_SIGNALS (UINT64_MAX - 1)
#define NUMBER_LISTENER (UINT64_MAX - 2)

static int loop = -1;
static int signals = -1;
static bool control_open;
static bool wants_write; /* something is due that the peer had no room for */

void nest_close(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

int nest_user_ids(uint32_t user, uid_t *ret_uid)
{
    if (user != NEST_USER && user != NEST_ROOT) {
        return -EINVAL;
    }
    *ret_uid = user == NEST_ROOT ? 0 : NEST_USER_ID;
    return 0;
}

int nest_drop_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}};
    return syscall(SYS_capset, &header, none) < 0 ? -errno : 0;
}

int nest_watch(int fd, uint32_t events, uint64_t number)
{
    struct epoll_event event = {.events = events, .data.u64 = number};
    return epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

void nest_unwatch(int fd)
{
    (void)epoll_ctl(loop, EPOLL_CTL_DEL, fd, NULL);
}

static void watch_control(bool writing)
{
    struct epoll_event event = {.events = writing ? EPOLLOUT : EPOLLIN, .data.u64 = NUMBER_CONTROL};
    if (control_open && wants_write != writing) {
        wants_write = writing;
        (void)epoll_ctl(loop, EPOLL_CTL_MOD, NEST_FD_CONTROL, &event);
    }
}

static int send_message(const struct nest_reply *reply, const int *fds, size_t fd_count, int flags)
{
    union {
        char buffer[CMSG_SPACE(sizeof(int) * NEST_REPLY_FDS)];
        struct cmsghdr align;
    } control;
    struct iovec iov = {.iov_base = (void *)(uintptr_t)reply, .iov_len = sizeof(*reply)};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    memset(&control, 0, sizeof(control));
    if (fd_count > 0) {
        message.msg_control = control.buffer;
        message.msg_controllen = (socklen_t)CMSG_SPACE(sizeof(int) * fd_count);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = (socklen_t)CMSG_LEN(sizeof(int) * fd_count);
        memcpy(CMSG_DATA(header), fds, sizeof(int) * fd_count);
    }
    return sendmsg(NEST_FD_CONTROL, &message, flags | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int nest_send(const struct nest_reply *reply, const int *fds, size_t fd_count)
{
    int error = send_message(reply, fds, fd_count, MSG_DONTWAIT);
    if (error == -EAGAIN || error == -ENOBUFS) {
        watch_control(true);
        return -EAGAIN;
    }
    return error;
}

int nest_send_waiting(const struct nest_reply *reply, const int *fds, size_t fd_count)
{
    return send_message(reply, fds, fd_count, 0);
}

int nest_send_error(const struct nest_request *request, int error)
{
    struct nest_reply reply = {.version = NEST_WIRE_VERSION,
                               .op = request->op,
                               .serial = request->serial,
                               .command = request->command,
                               .error = error};
    return nest_send(&reply, NULL, 0);
}

/*
 * Root inside may stop what works for nest-init, and somebody would wait for it for ever: its end
 * is what root could have had as well. Commands may be stopped.
 */
static void on_stopped(pid_t pid)
{
    if (command_waits_for(pid) || worker_is(pid) || spawn_waits_for(pid)) {
        (void)kill(pid, SIGKILL);
    }
}

static void reap(void)
{
    struct signalfd_siginfo info;
    struct rusage usage;
    int status;
    pid_t pid;
    while (read(signals, &info, sizeof(info)) > 0) {
    }
    while ((pid = wait4(-1, &status, WNOHANG | WUNTRACED, &usage)) > 0) {
        if (WIFSTOPPED(status)) {
            on_stopped(pid);
        } else if (!command_on_reaped(pid, status, &usage) && !spawn_on_reaped(pid)) {
            worker_on_reaped(pid, status);
        }
    }
    command_finish_ending();
}

/* Something else takes the number, which must never name anything but the peer. */
static void drop_peer(void)
{
    if (control_open) {
        nest_unwatch(NEST_FD_CONTROL);
        (void)dup3(0, NEST_FD_CONTROL, O_CLOEXEC);
        control_open = false;
        wants_write = false;
        command_forget_peer();
    }
}

static void accept_peer(void)
{
    nest_cleanup_fd int fd = accept4(NEST_FD_LISTENER, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) {
        return;
    }
    drop_peer();
    (void)dup3(fd, NEST_FD_CONTROL, O_CLOEXEC);
    control_open = nest_watch(NEST_FD_CONTROL, EPOLLIN, NUMBER_CONTROL) == 0;
}

static void dispatch(const struct epoll_event *event)
{
    if (event->data.u64 == NUMBER_SIGNALS) {
        reap();
    } else if (event->data.u64 == NUMBER_LISTENER) {
        accept_peer();
    } else if (event->data.u64 != NUMBER_CONTROL) {
        command_on_event(event->data.u64);
    } else if (wants_write) {
        if (!command_flush()) {
            watch_control(false);
        }
    } else if (request_handle() < 0) {
        drop_peer();
    }
}

/* From root inside to an id that no command has; what commands may be given is kept. */
static int drop_to_own_id(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    const uid_t id = NEST_INIT_ID;
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0 ||
        syscall(SYS_setgroups, 0, NULL) < 0 || syscall(SYS_setresgid, id, id, id) < 0 ||
        syscall(SYS_setresuid, id, id, id) < 0 || syscall(SYS_capget, &header, data) < 0) {
        return -errno;
    }
    data[0].effective = data[0].permitted;
    data[1].effective = data[1].permitted;
    if (syscall(SYS_capset, &header, data) < 0 || prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) < 0 ||
        prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0) {
        return -errno;
    }
    return 0;
}

static int open_loop(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    loop = epoll_create1(EPOLL_CLOEXEC);
    if (loop < 0 || sigprocmask(SIG_BLOCK, &set, NULL) < 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR) {
        return -errno;
    }
    signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals < 0) {
        return -errno;
    }
    int error = nest_watch(signals, EPOLLIN, NUMBER_SIGNALS);
    return error < 0 ? error : nest_watch(NEST_FD_LISTENER, EPOLLIN, NUMBER_LISTENER);
}

int main(void)
{
    command_init();
    if (drop_to_own_id() < 0 || exec_init() < 0 || landlock_init() < 0 || open_loop() < 0) {
        return 1;
    }
    for (int fd = NEST_FD_CONTROL; fd < NEST_FD_SECCOMP; fd++) {
        if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
            return 1;
        }
    }
    (void)umask(022);
    for (;;) {
        struct epoll_event events[MAX_EVENTS];
        command_idle();
        int count = epoll_wait(loop, events, MAX_EVENTS, -1);
        for (int i = 0; i < count; i++) {
            dispatch(&events[i]);
        }
    }
}
