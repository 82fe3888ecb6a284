/*
 * Stands between sandboxd and what it calls: linked with --wrap for each name below, it lets the
 * call through or makes it fail, see faulty.h.
 */
#include "tests/jail/faulty.h"

#include "sandboxd/jail.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <poll.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

static struct faults *faults;
static pid_t own_pid;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("CROWNEST_TEST_FAULTS");
    int fd = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);
    own_pid = getpid();
    if (fd >= 0) {
        void *map = mmap(NULL, sizeof(*faults), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        faults = map == MAP_FAILED ? NULL : map;
        close(fd);
    }
}

static bool fails(const char *name)
{
    if (faults == NULL || (faults->only[0] != '\0' && strcmp(faults->only, name) != 0)) {
        return false;
    }
    /* A jail's first process has the number 1 in its namespace. */
    uint32_t *left = getpid() == own_pid ? &faults->own
                     : getpid() == 1     ? &faults->jails
                                         : &faults->children;
    uint32_t now = __atomic_load_n(left, __ATOMIC_RELAXED);
    if (now == 0 || __atomic_sub_fetch(left, 1, __ATOMIC_RELAXED) > 0) {
        return false;
    }
    (void)strncpy(faults->failed, name, sizeof(faults->failed) - 1);
    errno = faults->error != 0 ? faults->error : EIO;
    return true;
}

static int before_step(const char *name)
{
    struct faults_step step = {.in_jail = getpid() == 1};
    (void)strncpy(step.name, name, sizeof(step.name) - 1);
    uint32_t number = __atomic_fetch_add(&faults->taken_count, 1, __ATOMIC_RELAXED);
    if (number < FAULTS_STEPS) {
        faults->taken[number] = step;
    }
    if (memcmp(&faults->step, &step, sizeof(step)) != 0) {
        return 0;
    }
    while (faults->hang) {
        (void)pause();
    }
    return -FAULTS_STEP_ERROR;
}

int __real_jail_build(const struct jail_spec *spec, struct jail *ret_jail, struct sd_err *err);
int __wrap_jail_build(const struct jail_spec *spec, struct jail *ret_jail, struct sd_err *err);
int __wrap_jail_build(const struct jail_spec *spec, struct jail *ret_jail, struct sd_err *err)
{
    struct jail_spec watched = *spec;
    watched.before_step = faults == NULL ? NULL : before_step;
    return __real_jail_build(&watched, ret_jail, err);
}

static void choose_number(uint32_t chosen, uint32_t *number)
{
    *number = chosen != 0 ? chosen : *number;
}

const struct sd_policy *__real_policy_get(void);
const struct sd_policy *__wrap_policy_get(void);
const struct sd_policy *__wrap_policy_get(void)
{
    static struct sd_policy policy;
    policy = *__real_policy_get();
    if (faults != NULL) {
        choose_number(faults->max_sandboxes, &policy.max_sandboxes);
        choose_number(faults->max_builders, &policy.max_builders);
        choose_number(faults->build_deadline_ms, &policy.build_deadline_ms);
    }
    return &policy;
}

_Noreturn void __real__exit(int code);
_Noreturn void __wrap__exit(int code);
_Noreturn void __wrap__exit(int code)
{
    while (faults != NULL && __atomic_load_n(&faults->hold, __ATOMIC_RELAXED)) {
        (void)usleep(1000);
    }
    __real__exit(code);
}

#define UNWRAP(...) __VA_ARGS__
#define WRAP(type, name, parameters, arguments, failure)                                           \
    type __real_##name(UNWRAP parameters);                                                         \
    type __wrap_##name(UNWRAP parameters);                                                         \
    type __wrap_##name(UNWRAP parameters)                                                          \
    {                                                                                              \
        return fails(#name) ? (failure) : __real_##name(UNWRAP arguments);                         \
    }

/* Those with optional arguments get all that they may have. */
WRAP(int, open, (const char *p, int f, mode_t m), (p, f, m), -1)
WRAP(int, openat, (int d, const char *p, int f, mode_t m), (d, p, f, m), -1)
WRAP(int, fcntl, (int d, int c, long a), (d, c, a), -1)
WRAP(int, ioctl, (int d, unsigned long r, void *a), (d, r, a), -1)
WRAP(int, prctl, (int o, long a, long b, long c, long d), (o, a, b, c, d), -1)
WRAP(long, syscall, (long n, long a, long b, long c, long d, long e, long f), (n, a, b, c, d, e, f),
     -1)

WRAP(int, mkdir, (const char *p, mode_t m), (p, m), -1)
WRAP(int, mkdirat, (int d, const char *p, mode_t m), (d, p, m), -1)
WRAP(int, rmdir, (const char *p), (p), -1)
WRAP(int, unlinkat, (int d, const char *p, int f), (d, p, f), -1)
WRAP(int, renameat, (int d, const char *p, int e, const char *q), (d, p, e, q), -1)
WRAP(int, symlinkat, (const char *t, int d, const char *p), (t, d, p), -1)
WRAP(int, mknodat, (int d, const char *p, mode_t m, dev_t n), (d, p, m, n), -1)
WRAP(int, fchownat, (int d, const char *p, uid_t u, gid_t g, int f), (d, p, u, g, f), -1)
WRAP(int, fchmodat, (int d, const char *p, mode_t m, int f), (d, p, m, f), -1)
WRAP(int, fchown, (int d, uid_t u, gid_t g), (d, u, g), -1)
WRAP(int, fchmod, (int d, mode_t m), (d, m), -1)
WRAP(int, chown, (const char *p, uid_t u, gid_t g), (p, u, g), -1)
WRAP(int, stat, (const char *p, struct stat *s), (p, s), -1)
WRAP(int, fstat, (int d, struct stat *s), (d, s), -1)
WRAP(int, statfs, (const char *p, struct statfs *s), (p, s), -1)
WRAP(int, fstatfs, (int d, struct statfs *s), (d, s), -1)
WRAP(int, chdir, (const char *p), (p), -1)
WRAP(int, fchdir, (int d), (d), -1)
WRAP(int, dup, (int d), (d), -1)
WRAP(int, dup2, (int d, int e), (d, e), -1)
WRAP(ssize_t, read, (int d, void *b, size_t n), (d, b, n), -1)
WRAP(ssize_t, pread, (int d, void *b, size_t n, off_t o), (d, b, n, o), -1)
WRAP(ssize_t, write, (int d, const void *b, size_t n), (d, b, n), -1)
WRAP(int, memfd_create, (const char *n, unsigned int f), (n, f), -1)
WRAP(DIR *, opendir, (const char *p), (p), NULL)
WRAP(DIR *, fdopendir, (int d), (d), NULL)
WRAP(FILE *, setmntent, (const char *p, const char *m), (p, m), NULL)
WRAP(FILE *, fopen, (const char *p, const char *m), (p, m), NULL)

WRAP(int, mount, (const char *s, const char *t, const char *y, unsigned long f, const void *d),
     (s, t, y, f, d), -1)
WRAP(int, umount2, (const char *p, int f), (p, f), -1)
WRAP(int, fsopen, (const char *n, unsigned int f), (n, f), -1)
WRAP(int, fsconfig, (int d, unsigned int c, const char *k, const void *v, int a), (d, c, k, v, a),
     -1)
WRAP(int, fsmount, (int d, unsigned int f, unsigned int a), (d, f, a), -1)
WRAP(int, open_tree, (int d, const char *p, unsigned int f), (d, p, f), -1)
WRAP(int, move_mount, (int d, const char *p, int e, const char *q, unsigned int f), (d, p, e, q, f),
     -1)
WRAP(int, mount_setattr, (int d, const char *p, unsigned int f, struct mount_attr *a, size_t n),
     (d, p, f, a, n), -1)

WRAP(int, socket, (int d, int t, int p), (d, t, p), -1)
WRAP(int, socketpair, (int d, int t, int p, int f[2]), (d, t, p, f), -1)
WRAP(int, accept4, (int d, struct sockaddr *a, socklen_t *n, int f), (d, a, n, f), -1)
WRAP(int, getsockopt, (int d, int l, int o, void *v, socklen_t *n), (d, l, o, v, n), -1)
WRAP(int, bind, (int d, const struct sockaddr *a, socklen_t n), (d, a, n), -1)
WRAP(int, listen, (int d, int n), (d, n), -1)
WRAP(int, connect, (int d, const struct sockaddr *a, socklen_t n), (d, a, n), -1)
WRAP(ssize_t, sendmsg, (int d, const struct msghdr *m, int f), (d, m, f), -1)
WRAP(ssize_t, recvmsg, (int d, struct msghdr *m, int f), (d, m, f), -1)
WRAP(int, epoll_create1, (int f), (f), -1)
WRAP(int, epoll_ctl, (int d, int o, int e, struct epoll_event *v), (d, o, e, v), -1)
WRAP(int, poll, (struct pollfd * p, nfds_t n, int t), (p, n, t), -1)

WRAP(pid_t, fork, (void), (), -1)
WRAP(int, unshare, (int f), (f), -1)
WRAP(pid_t, setsid, (void), (), -1)
WRAP(int, setgroups, (size_t n, const gid_t *g), (n, g), -1)
WRAP(int, setresuid, (uid_t r, uid_t e, uid_t s), (r, e, s), -1)
WRAP(int, setresgid, (gid_t r, gid_t e, gid_t s), (r, e, s), -1)
WRAP(int, sethostname, (const char *n, size_t s), (n, s), -1)
WRAP(int, setdomainname, (const char *n, size_t s), (n, s), -1)
WRAP(int, getrlimit, (__rlimit_resource_t r, struct rlimit *l), (r, l), -1)
WRAP(int, setrlimit, (__rlimit_resource_t r, const struct rlimit *l), (r, l), -1)
WRAP(int, sigprocmask, (int h, const sigset_t *s, sigset_t *o), (h, s, o), -1)
WRAP(int, signalfd, (int d, const sigset_t *s, int f), (d, s, f), -1)

WRAP(scmp_filter_ctx, seccomp_init, (uint32_t a), (a), NULL)
WRAP(int, seccomp_attr_set, (scmp_filter_ctx c, enum scmp_filter_attr a, uint32_t v), (c, a, v),
     -EIO)
WRAP(int, seccomp_load, (const scmp_filter_ctx c), (c), -EIO)
WRAP(int, seccomp_export_bpf, (const scmp_filter_ctx c, int d), (c, d), -EIO)
