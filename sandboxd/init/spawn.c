#include "sandboxd/init/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandboxd/init/exec.h"
#include "sandboxd/init/nest.h"
#include "sandboxd/init/start.h"
#include "sandboxd/init/terminal.h"

#define GROUP_NAME_SIZE 32
/*
 * To remove a group takes seven jobs of kernel threads, and each time that one of those has run,
 * the scheduler chooses anew who is next on that CPU. So they are removed together.
 */
#define EMPTY_GROUPS 8
#define BLOB_SEALS (F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW)

static void group_name(uint64_t number, char ret_name[GROUP_NAME_SIZE])
{
    (void)snprintf(ret_name, GROUP_NAME_SIZE, "c-%llu", (unsigned long long)number);
}

static int make_group(uint64_t number)
{
    char name[GROUP_NAME_SIZE];
    group_name(number, name);
    if (mkdirat(NEST_FD_CGROUP, name, 0755) < 0) {
        return -errno;
    }
    int fd = openat(NEST_FD_CGROUP, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        int error = -errno;
        spawn_remove_group(number);
        return error;
    }
    return fd;
}

void spawn_remove_group(uint64_t number)
{
    static uint64_t empty[EMPTY_GROUPS];
    static size_t count;
    empty[count++] = number;
    if (count < EMPTY_GROUPS) {
        return;
    }
    while (count > 0) {
        char name[GROUP_NAME_SIZE];
        group_name(empty[--count], name);
        (void)unlinkat(NEST_FD_CGROUP, name, AT_REMOVEDIR);
    }
}

static bool blob_is_good(const struct nest_spawn *s, int blob)
{
    struct stat st;
    return fstat(blob, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == (off_t)s->blob_bytes &&
           s->blob_bytes > 0 && s->blob_bytes <= NEST_SPAWN_BLOB_MAX && s->argc > 0 &&
           s->argc <= s->blob_bytes && s->envc <= s->blob_bytes &&
           memchr(s->cwd, '\0', sizeof(s->cwd)) != NULL &&
           (s->flags & ~(uint32_t)(NEST_TERMINAL | NEST_KEEP_INPUT)) == 0 &&
           (fcntl(blob, F_GET_SEALS) & BLOB_SEALS) == BLOB_SEALS;
}

/* Pipes belong to the command's user, or it could not open /dev/stdout. */
static int make_pipes(uid_t uid, int ret_pipes[4][2])
{
    int error = 0;
    setfsgid(uid);
    setfsuid(uid);
    for (int i = 0; error == 0 && i < 4; i++) {
        error = pipe2(ret_pipes[i], O_CLOEXEC) < 0 ? -errno : 0;
    }
    setfsuid(NEST_INIT_ID);
    setfsgid(NEST_INIT_ID);
    return error;
}

/* The process that waits to be the next command. */
static struct {
    pid_t pid; /* 0 = none */
    int socket;
    int cgroup;
    uint64_t group;
} seat;

static uint64_t last_group;

static pid_t clone_into(int cgroup)
{
    struct clone_args args = {
        .flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = (unsigned int)cgroup};
    return (pid_t)syscall(SYS_clone3, &args, sizeof(args));
}

int spawn_prepare(void)
{
    int pair[2];
    if (seat.pid > 0) {
        return 0;
    }
    uint64_t group = ++last_group;
    nest_cleanup_fd int cgroup = make_group(group);
    if (cgroup < 0) {
        return cgroup;
    }
    pid_t pid = -1;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0) {
        pid = clone_into(cgroup);
        if (pid == 0) {
            exec_wait(pair[1]);
        }
        close(pair[1]);
        if (pid < 0) {
            close(pair[0]);
        }
    }
    if (pid < 0) {
        int error = -errno;
        spawn_remove_group(group);
        return error;
    }
    seat.pid = pid;
    seat.socket = pair[0];
    seat.cgroup = cgroup;
    seat.group = group;
    cgroup = -1;
    return 0;
}

static void drop_seat(void)
{
    nest_close(&seat.socket);
    nest_close(&seat.cgroup);
    spawn_remove_group(seat.group);
    seat.pid = 0;
}

bool spawn_waits_for(pid_t pid)
{
    return pid == seat.pid;
}

bool spawn_on_reaped(pid_t pid)
{
    if (!spawn_waits_for(pid)) {
        return false;
    }
    drop_seat();
    return true;
}

/* -EPIPE: the one that waited is dead, as memory may have run out. */
static int send_order(const struct nest_spawn *spawn, const int fds[EXEC_FD_COUNT])
{
    union {
        char buffer[CMSG_SPACE(sizeof(int) * EXEC_FD_COUNT)];
        struct cmsghdr align;
    } control = {0};
    struct iovec iov = {.iov_base = (void *)(uintptr_t)spawn, .iov_len = sizeof(*spawn)};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.buffer,
                             .msg_controllen = sizeof(control.buffer)};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = (socklen_t)CMSG_LEN(sizeof(int) * EXEC_FD_COUNT);
    memcpy(CMSG_DATA(header), fds, sizeof(int) * EXEC_FD_COUNT);
    int error = spawn_prepare();
    if (error == 0 && sendmsg(seat.socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
        error = -errno;
    }
    return error;
}

/* Everything that a command's first process and nest-init get of it; -1 = not there. */
struct ends {
    int pipes[4][2]; /* input, output, error output, status; each its read end and its write end */
    int terminal;    /* nest-init's end */
    int command_terminal;
    pid_t relay;
};

static void close_ends(struct ends *e)
{
    for (int i = 0; i < 4; i++) {
        nest_close(&e->pipes[i][0]);
        nest_close(&e->pipes[i][1]);
    }
    nest_close(&e->terminal);
    nest_close(&e->command_terminal);
    if (e->relay > 0) {
        (void)kill(e->relay, SIGKILL);
    }
}

static int make_ends(const struct nest_spawn *spawn, uid_t uid, struct ends *e)
{
    int error = make_pipes(uid, e->pipes);
    /* A writer of input never waits: what does not fit is left to the peer. */
    if (error == 0 && fcntl(e->pipes[0][1], F_SETFL, O_NONBLOCK) < 0) {
        error = -errno;
    }
    if (error < 0 || (spawn->flags & NEST_TERMINAL) == 0) {
        return error;
    }
    error = terminal_open(uid, spawn->rows, spawn->columns, &e->terminal, &e->command_terminal);
    if (error == 0) {
        e->relay = terminal_relay(e->terminal, e->pipes[0][0], e->pipes[1][1]);
        error = e->relay < 0 ? e->relay : 0;
    }
    return error;
}

static int give_order(const struct nest_spawn *spawn, int blob, const struct ends *e)
{
    int tty = e->command_terminal;
    const int fds[EXEC_FD_COUNT] = {blob, tty >= 0 ? tty : e->pipes[0][0],
                                    tty >= 0 ? tty : e->pipes[1][1],
                                    tty >= 0 ? tty : e->pipes[2][1], e->pipes[3][1]};
    int error = send_order(spawn, fds);
    if (error == -EPIPE) {
        /* It will be reaped as a child that nobody knows. */
        drop_seat();
        error = send_order(spawn, fds);
    }
    return error;
}

int spawn_command(const struct nest_spawn *spawn, int blob, struct spawn_result *ret_result)
{
    struct ends e = {
        .pipes = {{-1, -1}, {-1, -1}, {-1, -1}, {-1, -1}}, .terminal = -1, .command_terminal = -1};
    uid_t uid;
    if (nest_user_ids(spawn->user, &uid) < 0 || !blob_is_good(spawn, blob)) {
        return -EINVAL;
    }
    int error = make_ends(spawn, uid, &e);
    if (error == 0) {
        error = give_order(spawn, blob, &e);
    }
    if (error < 0) {
        close_ends(&e);
        return error;
    }
    *ret_result = (struct spawn_result){.pid = seat.pid,
                                        .status = e.pipes[3][0],
                                        .cgroup = seat.cgroup,
                                        .group = seat.group,
                                        .pipes = {e.pipes[0][1], e.pipes[1][0], e.pipes[2][0]},
                                        .terminal = e.terminal,
                                        .relay = e.relay};
    /* What is left are the ends of the command and of the relay. */
    e.pipes[0][1] = e.pipes[1][0] = e.pipes[2][0] = e.pipes[3][0] = e.terminal = -1;
    e.relay = 0;
    close_ends(&e);
    close(seat.socket);
    seat.pid = 0;
    return 0;
}
