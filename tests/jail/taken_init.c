/*
 * nest-init as an attacker would have it: PID 1 with its descriptors, ids and capabilities. Makes
 * attack number `signo` of taken_cases.h for each NEST_SIGNAL, in a child, and answers with its
 * errno. Accepts one peer and no other.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandboxd/init/start.h"
#include "sandboxd/init/wire.h"

#define GROUP NEST_FD_CGROUP
#define INIT_ID NEST_INIT_ID
#define CASE_SECONDS 10
#define MORE_GROUPS_THAN_ALLOWED 4096
#define DUG_IN 64 /* groups with a process in each */
#define GROUP_NAME_SIZE 32

static int host_number; /* pid of a process of the host, there */

static long nothing(void)
{
    errno = ENODATA;
    return -1;
}

static long write_in(int dir, const char *path, const char *text)
{
    int fd = openat(dir, path, O_WRONLY | O_CLOEXEC);
    return fd < 0 ? -1 : write(fd, text, strlen(text));
}

static long open_in(int dir, const char *path)
{
    return openat(dir, path, O_RDONLY | O_CLOEXEC);
}

static long make_in(int dir, const char *path)
{
    int fd = openat(dir, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    return fd < 0 ? -1 : unlinkat(dir, path, 0);
}

static int become_root(void)
{
    return setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0 ? -1 : 0;
}

#define as_root(call) (become_root() < 0 ? -1 : (call))

/* How many names in the directory begin so. */
static long entries_like(int at, const char *path, const char *beginning)
{
    int fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    long count = 0;
    if (dir == NULL) {
        return -1;
    }
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        count += strncmp(e->d_name, beginning, strlen(beginning)) == 0;
    }
    return count == 0 ? nothing() : count;
}

static long work_in_and_find(int dir, const char *path, const char *beginning)
{
    return fchdir(dir) < 0 ? -1 : entries_like(AT_FDCWD, path, beginning);
}

static const char *host_pid(void)
{
    static char text[16];
    (void)snprintf(text, sizeof(text), "%d", host_number);
    return text;
}

/* The child's success is ours. */
static long clone_with(uint64_t flags)
{
    struct clone_args args = {.flags = flags, .exit_signal = SIGCHLD};
    long pid = syscall(SYS_clone3, &args, sizeof(args));
    if (pid == 0) {
        _exit(0);
    }
    return pid;
}

/* Returns as fork does. */
static long clone_into(const char *path)
{
    int dir = openat(GROUP, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct clone_args args = {
        .flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = (unsigned int)dir};
    long pid = dir < 0 ? -1 : syscall(SYS_clone3, &args, sizeof(args));
    int error = errno;
    if (pid != 0 && dir >= 0) {
        close(dir);
        errno = error;
    }
    return pid;
}

/* The root of its cgroup namespace is its own group: what is outside begins with "..". */
static long is_outside(void)
{
    char text[4096] = {0};
    int fd = open("/proc/self/cgroup", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0) {
        return -1;
    }
    return strstr(text, "0::/..") != NULL ? 1 : nothing();
}

static long move_out(const char *path)
{
    return write_in(GROUP, path, "0") < 0 ? -1 : is_outside();
}

static long start_out(const char *path)
{
    int status = 0;
    long pid = clone_into(path);
    if (pid == 0) {
        _exit(is_outside() < 0 ? errno : 0);
    }
    if (pid < 0 || waitpid((pid_t)pid, &status, 0) < 0) {
        return -1;
    }
    errno = WEXITSTATUS(status);
    return errno == 0 ? 0 : -1;
}

static long setns_to(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -1 : syscall(SYS_setns, fd, 0);
}

static long make_group(const char *path)
{
    return mkdirat(GROUP, path, 0755);
}

static void odd_name(int number, char ret_name[GROUP_NAME_SIZE])
{
    (void)snprintf(ret_name, GROUP_NAME_SIZE, "\001 %d\t", number);
}

static long make_groups(void)
{
    char name[GROUP_NAME_SIZE];
    for (int i = 0; i < MORE_GROUPS_THAN_ALLOWED; i++) {
        odd_name(i, name);
        if (make_group(name) < 0) {
            return -1;
        }
    }
    return 0;
}

static long capset_all(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{~0U, ~0U, 0}, {~0U, ~0U, 0}};
    return syscall(SYS_capset, &header, data);
}

static long raise_limit(int resource)
{
    struct rlimit limit;
    (void)getrlimit((__rlimit_resource_t)resource, &limit);
    limit.rlim_cur = ++limit.rlim_max;
    return setrlimit((__rlimit_resource_t)resource, &limit);
}

static long schedule(int policy, int priority)
{
    struct sched_param parameter = {.sched_priority = priority};
    return sched_setscheduler(0, policy, &parameter);
}

static _Noreturn void stay(void)
{
    sigset_t all;
    sigfillset(&all);
    (void)sigprocmask(SIG_BLOCK, &all, NULL);
    for (;;) {
        (void)pause();
    }
}

static void set_group(const char *name, const char *file, const char *text)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "%s/%s", name, file);
    (void)write_in(GROUP, path, text);
}

/* Groups of odd names, every second one set so, and in each a process that hears no signal. */
static long dig_in(const char *file, const char *text)
{
    long result = 0;
    for (int i = 0; i < DUG_IN; i++) {
        char name[GROUP_NAME_SIZE];
        odd_name(i, name);
        (void)make_group(name);
        if (i % 2 == 0) {
            set_group(name, file, text);
        }
        long pid = clone_into(name);
        if (pid == 0) {
            stay();
        }
        result = pid < 0 ? -1 : result;
    }
    return result;
}

/* --- the table --- */

#define JOIN(a, b) a##b
#define FUNCTION(line) JOIN(attack_, line)
#define CASE(name, attack, outcome)                                                                \
    static long FUNCTION(__LINE__)(void)                                                           \
    {                                                                                              \
        return (attack);                                                                           \
    }
#include "tests/jail/taken_cases.h"
#undef CASE

static long (*const CASES[])(void) = {
#define CASE(name, attack, outcome) FUNCTION(__LINE__),
#include "tests/jail/taken_cases.h"
#undef CASE
};

/* 0, a negative errno, or the signal that ended it. */
static int make_attack(size_t number)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        (void)alarm(CASE_SECONDS);
        _exit(CASES[number]() < 0 ? errno : 0);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid) {
        return -EIO;
    }
    return WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
}

/* As nest-init does it; the capabilities stay. */
static int drop_to_own_id(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0 || setresgid(INIT_ID, INIT_ID, INIT_ID) < 0 ||
        setresuid(INIT_ID, INIT_ID, INIT_ID) < 0 || syscall(SYS_capget, &header, data) < 0) {
        return -1;
    }
    data[0].effective = data[0].permitted;
    data[1].effective = data[1].permitted;
    return (int)syscall(SYS_capset, &header, data);
}

static void answer(int peer, const struct nest_request *request)
{
    struct nest_reply reply = {
        .version = NEST_WIRE_VERSION, .op = request->op, .serial = request->serial};
    if (request->op == NEST_SIGNAL) {
        size_t number = (size_t)request->signo;
        host_number = (int)request->command;
        reply.error = number < sizeof(CASES) / sizeof(CASES[0]) ? make_attack(number) : -EPROTO;
    }
    (void)send(peer, &reply, sizeof(reply), MSG_NOSIGNAL);
}

int main(void)
{
    static struct nest_request request;
    int peer = -1;
    if (drop_to_own_id() < 0) {
        return 1;
    }
    while (peer < 0) {
        peer = accept(NEST_FD_LISTENER, NULL, NULL);
    }
    while (recv(peer, &request, sizeof(request), 0) > 0) {
        answer(peer, &request);
    }
    stay();
}
