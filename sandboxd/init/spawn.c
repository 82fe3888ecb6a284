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

#define GROUP_NAME_SIZE 32
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
    char name[GROUP_NAME_SIZE];
    group_name(number, name);
    (void)unlinkat(NEST_FD_CGROUP, name, AT_REMOVEDIR);
}

static bool blob_is_good(const struct nest_spawn *s, int blob)
{
    struct stat st;
    return fstat(blob, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == (off_t)s->blob_bytes &&
           s->blob_bytes > 0 && s->blob_bytes <= NEST_SPAWN_BLOB_MAX && s->argc > 0 &&
           s->argc <= s->blob_bytes && s->envc <= s->blob_bytes &&
           memchr(s->cwd, '\0', sizeof(s->cwd)) != NULL &&
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

bool spawn_on_reaped(pid_t pid)
{
    if (pid != seat.pid) {
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

int spawn_command(const struct nest_spawn *spawn, int blob, struct spawn_result *ret_result)
{
    int pipes[4][2] = {{-1, -1}, {-1, -1}, {-1, -1}, {-1, -1}};
    uid_t uid;
    if (nest_user_ids(spawn->user, &uid) < 0 || !blob_is_good(spawn, blob)) {
        return -EINVAL;
    }
    int error = make_pipes(uid, pipes);
    if (error == 0) {
        const int fds[EXEC_FD_COUNT] = {blob, pipes[0][0], pipes[1][1], pipes[2][1], pipes[3][1]};
        error = send_order(spawn, fds);
        if (error == -EPIPE) {
            /* It will be reaped as a child that nobody knows. */
            drop_seat();
            error = send_order(spawn, fds);
        }
    }
    /* The command's ends; on failure ours too. */
    for (int i = 0; i < 4; i++) {
        nest_close(&pipes[i][i == 0 ? 0 : 1]);
        if (error < 0) {
            nest_close(&pipes[i][i == 0 ? 1 : 0]);
        }
    }
    if (error < 0) {
        return error;
    }
    *ret_result = (struct spawn_result){.pid = seat.pid,
                                        .status = pipes[3][0],
                                        .cgroup = seat.cgroup,
                                        .group = seat.group,
                                        .pipes = {pipes[0][1], pipes[1][0], pipes[2][0]}};
    close(seat.socket);
    seat.pid = 0;
    return 0;
}
