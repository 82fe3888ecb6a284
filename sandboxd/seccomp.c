#include "sandboxd/seccomp.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <linux/sched.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "sandboxd/io.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Names that one architecture lacks are skipped on it. */
static const char *const ALLOWED[] = {
    /* files */
    "access", "chdir", "chmod", "chown", "close", "close_range", "copy_file_range", "creat", "dup",
    "dup2", "dup3", "faccessat", "faccessat2", "fadvise64", "fallocate", "fchdir", "fchmod",
    "fchmodat", "fchmodat2", "fchown", "fchownat", "fcntl", "fdatasync", "fgetxattr", "flistxattr",
    "flock", "fremovexattr", "fsetxattr", "fstat", "fstatfs", "fsync", "ftruncate", "futimesat",
    "getcwd", "getdents", "getdents64", "getxattr", "lchown", "lgetxattr", "link", "linkat",
    "listxattr", "llistxattr", "lremovexattr", "lseek", "lsetxattr", "lstat", "mkdir", "mkdirat",
    "mknod", "mknodat", "newfstatat", "open", "openat", "openat2", "pread64", "preadv", "preadv2",
    "pwrite64", "pwritev", "pwritev2", "read", "readahead", "readlink", "readlinkat", "readv",
    "removexattr", "rename", "renameat", "renameat2", "rmdir", "sendfile", "setxattr", "splice",
    "stat", "statfs", "statx", "symlink", "symlinkat", "sync", "sync_file_range", "syncfs", "tee",
    "truncate", "umask", "unlink", "unlinkat", "utime", "utimensat", "utimes", "vmsplice", "write",
    "writev",
    /* memory */
    "brk", "get_mempolicy", "madvise", "mbind", "membarrier", "memfd_create", "mincore", "mlock",
    "mlock2", "mlockall", "mmap", "mprotect", "mremap", "mseal", "msync", "munlock", "munlockall",
    "munmap", "pkey_alloc", "pkey_free", "pkey_mprotect", "process_madvise", "remap_file_pages",
    "set_mempolicy",
    /* processes and threads */
    "arch_prctl", "capget", "capset", "execve", "execveat", "exit", "exit_group", "fork", "futex",
    "futex_waitv", "get_robust_list", "get_thread_area", "getcpu", "getpgid", "getpgrp", "getpid",
    "getppid", "getpriority", "getrandom", "getrlimit", "getrusage", "getsid", "gettid",
    "ioprio_get", "ioprio_set", "kill", "pidfd_open", "pidfd_send_signal", "prlimit64", "rseq",
    "sched_get_priority_max", "sched_get_priority_min", "sched_getaffinity", "sched_getattr",
    "sched_getparam", "sched_getscheduler", "sched_rr_get_interval", "sched_setaffinity",
    "sched_setattr", "sched_setparam", "sched_setscheduler", "sched_yield", "set_robust_list",
    "set_thread_area", "set_tid_address", "setpgid", "setpriority", "setrlimit", "setsid",
    "sysinfo", "tgkill", "time", "times", "tkill", "uname", "vfork", "wait4", "waitid",
    /* ids */
    "getegid", "geteuid", "getgid", "getgroups", "getresgid", "getresuid", "getuid", "setfsgid",
    "setfsuid", "setgid", "setgroups", "setregid", "setresgid", "setresuid", "setreuid", "setuid",
    /* signals and time */
    "alarm", "clock_getres", "clock_gettime", "clock_nanosleep", "eventfd", "eventfd2", "getitimer",
    "gettimeofday", "nanosleep", "pause", "restart_syscall", "rt_sigaction", "rt_sigpending",
    "rt_sigprocmask", "rt_sigqueueinfo", "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait",
    "rt_tgsigqueueinfo", "setitimer", "sigaltstack", "signalfd", "signalfd4", "timer_create",
    "timer_delete", "timer_getoverrun", "timer_gettime", "timer_settime", "timerfd_create",
    "timerfd_gettime", "timerfd_settime",
    /* waiting and watching */
    "epoll_create", "epoll_create1", "epoll_ctl", "epoll_ctl_old", "epoll_pwait", "epoll_pwait2",
    "epoll_wait", "epoll_wait_old", "inotify_add_watch", "inotify_init", "inotify_init1",
    "inotify_rm_watch", "io_cancel", "io_destroy", "io_getevents", "io_pgetevents", "io_setup",
    "io_submit", "poll", "ppoll", "pselect6", "select",
    /* pipes, sockets, System V and POSIX IPC */
    "accept", "accept4", "bind", "connect", "getpeername", "getsockname", "getsockopt", "listen",
    "mq_getsetattr", "mq_notify", "mq_open", "mq_timedreceive", "mq_timedsend", "mq_unlink",
    "msgctl", "msgget", "msgrcv", "msgsnd", "pipe", "pipe2", "recvfrom", "recvmmsg", "recvmsg",
    "semctl", "semget", "semop", "semtimedop", "sendmmsg", "sendmsg", "sendto", "setsockopt",
    "shmat", "shmctl", "shmdt", "shmget", "shutdown",
    /* confining oneself further */
    "landlock_add_rule", "landlock_create_ruleset", "landlock_restrict_self", "seccomp"};

/* Known calls for which programs expect to be refused rather than to find them missing. */
static const char *const REFUSED[] = {"acct",
                                      "add_key",
                                      "bpf",
                                      "chroot",
                                      "clock_settime",
                                      "delete_module",
                                      "finit_module",
                                      "fsconfig",
                                      "fsmount",
                                      "fsopen",
                                      "fspick",
                                      "init_module",
                                      "io_uring_enter",
                                      "io_uring_register",
                                      "io_uring_setup",
                                      "kcmp",
                                      "kexec_file_load",
                                      "kexec_load",
                                      "keyctl",
                                      "mount",
                                      "mount_setattr",
                                      "move_mount",
                                      "move_pages",
                                      "migrate_pages",
                                      "name_to_handle_at",
                                      "open_by_handle_at",
                                      "open_tree",
                                      "perf_event_open",
                                      "pidfd_getfd",
                                      "pivot_root",
                                      "process_vm_readv",
                                      "process_vm_writev",
                                      "ptrace",
                                      "quotactl",
                                      "reboot",
                                      "request_key",
                                      "setdomainname",
                                      "sethostname",
                                      "setns",
                                      "settimeofday",
                                      "swapoff",
                                      "swapon",
                                      "syslog",
                                      "umount2",
                                      "unshare",
                                      "userfaultfd",
                                      "vhangup"};

/* What building, entering and removing jails takes beside the calls of commands. */
static const char *const OWN[] = {
    "clone",  "clone3",        "fsconfig",    "fsmount",       "fsopen",      "ioctl",
    "mount",  "move_mount",    "open_tree",   "mount_setattr", "personality", "pivot_root",
    "prctl",  "setdomainname", "sethostname", "umount2",       "unshare",
#ifdef __SANITIZE_ADDRESS__
    "ptrace", /* how the leak checker stops the threads that it looks at */
#endif
};

static const uint64_t NAMESPACE_FLAGS = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS |
                                        CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET |
                                        CLONE_NEWTIME;

static int add_names(scmp_filter_ctx filter, uint32_t action, const char *const *names,
                     size_t count, struct sd_err *err)
{
    for (size_t i = 0; i < count; i++) {
        int number = seccomp_syscall_resolve_name(names[i]);
        if (number == __NR_SCMP_ERROR || number < 0) {
            continue; /* unknown to this libseccomp, or not on this architecture: stays ENOSYS */
        }
        int error = seccomp_rule_add(filter, action, number, 0);
        if (error < 0) {
            return sd_err_set(err, -error, names[i]);
        }
    }
    return 0;
}

static int add_sockets(scmp_filter_ctx f)
{
    static const int FAMILIES[] = {AF_UNIX, AF_INET, AF_INET6};
    int e = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(socketpair), 1,
                             SCMP_A0_32(SCMP_CMP_EQ, AF_UNIX));
    for (size_t i = 0; e == 0 && i < COUNT(FAMILIES); i++) {
        e = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
                             SCMP_A0_32(SCMP_CMP_EQ, (uint32_t)FAMILIES[i]));
    }
    return e;
}

static int add_arguments(scmp_filter_ctx f)
{
    /* Programs try these and live without them, if told so in the usual way. */
    static const int UNSUPPORTED[] = {AF_NETLINK, AF_PACKET, AF_ALG, AF_VSOCK, AF_BLUETOOTH};
    static const uint64_t PERSONALITIES[] = {PER_LINUX, PER_LINUX | ADDR_NO_RANDOMIZE, 0xffffffff};
    int e = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                             SCMP_A0(SCMP_CMP_MASKED_EQ, NAMESPACE_FLAGS, 0));
    for (size_t i = 0; e == 0 && i < COUNT(UNSUPPORTED); i++) {
        e = seccomp_rule_add(f, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1,
                             SCMP_A0_32(SCMP_CMP_EQ, (uint32_t)UNSUPPORTED[i]));
    }
    for (size_t i = 0; e == 0 && i < COUNT(PERSONALITIES); i++) {
        e = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(personality), 1,
                             SCMP_A0_32(SCMP_CMP_EQ, (uint32_t)PERSONALITIES[i]));
    }
    return e;
}

/*
 * Allows a call unless its argument, an int to the kernel, is among the forbidden ones. The kernel
 * looks at its low 32 bits only, so a comparison of all 64 would be walked around, and libseccomp
 * can neither negate a masked comparison nor use an argument twice in a rule. So the complement is
 * spelt out: a number is another one if any bit in which they all agree is different, or if the
 * bits in which they differ look like none of them.
 */
static int add_all_but(scmp_filter_ctx f, int call, unsigned int argument,
                       const uint32_t *forbidden, size_t count)
{
    uint32_t differ = 0;
    int e = 0;
    for (size_t i = 0; i < count; i++) {
        differ |= forbidden[i] ^ forbidden[0];
    }
    for (unsigned int bit = 0; e == 0 && bit < 32; bit++) {
        uint32_t mask = ~differ & (1U << bit);
        if (mask != 0) {
            e = seccomp_rule_add(
                f, SCMP_ACT_ALLOW, call, 1,
                SCMP_CMP(argument, SCMP_CMP_MASKED_EQ, mask, ~forbidden[0] & mask));
        }
    }
    /* Counts through all values of the other bits, upwards, by filling the gaps with ones. */
    for (uint32_t value = 0; e == 0 && differ != 0; value = ((value | ~differ) + 1) & differ) {
        bool is_forbidden = false;
        for (size_t i = 0; i < count; i++) {
            is_forbidden = is_forbidden || value == (forbidden[i] & differ);
        }
        if (!is_forbidden) {
            e = seccomp_rule_add(f, SCMP_ACT_ALLOW, call, 1,
                                 SCMP_CMP(argument, SCMP_CMP_MASKED_EQ, differ, value));
        }
        if (value == differ) {
            break;
        }
    }
    return e;
}

static int add_words(scmp_filter_ctx f)
{
    /* What puts words into a terminal's mouth; what has the kernel load drivers for modems. */
    static const uint32_t IOCTLS[] = {TIOCSTI, TIOCLINUX, TIOCSETD};
    /* Who shares a core with nobody slows down whoever has the other half of it. */
    static const uint32_t PRCTLS[] = {PR_SCHED_CORE};
    int e = add_all_but(f, SCMP_SYS(ioctl), 1, IOCTLS, COUNT(IOCTLS));
    return e < 0 ? e : add_all_but(f, SCMP_SYS(prctl), 0, PRCTLS, COUNT(PRCTLS));
}

/* A filter that allows ALLOWED and some sockets. NULL with err filled. */
static scmp_filter_ctx begin(struct sd_err *err)
{
    scmp_filter_ctx f = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
    if (f == NULL) {
        (void)sd_err_set(err, ENOMEM, "seccomp_init");
        return NULL;
    }
    int error = seccomp_attr_set(f, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (error == 0) {
        /* A binary tree instead of a list: the cost of a call no longer depends on its number. */
        error = seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    }
    if (error == 0) {
        error = add_sockets(f);
    }
    if (error < 0) {
        (void)sd_err_set(err, -error, "filter attributes");
    } else {
        error = add_names(f, SCMP_ACT_ALLOW, ALLOWED, COUNT(ALLOWED), err);
    }
    if (error < 0) {
        seccomp_release(f);
        f = NULL;
    }
    return f;
}

int seccomp_confine(struct sd_err *err)
{
    scmp_filter_ctx f = begin(err);
    if (f == NULL) {
        return err->code;
    }
    int error = add_names(f, SCMP_ACT_ALLOW, OWN, COUNT(OWN), err);
    if (error == 0) {
        /* Of all that can be done with keys: a jail leaves the keyring of sandboxd. */
        error = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(keyctl), 1,
                                 SCMP_A0_32(SCMP_CMP_EQ, KEYCTL_JOIN_SESSION_KEYRING));
    }
    if (error == 0) {
        error = seccomp_load(f);
        if (error < 0) {
            (void)sd_err_set(err, -error, "seccomp_load");
        }
    }
    seccomp_release(f);
    return error;
}

static int add_restricted(scmp_filter_ctx f, struct sd_err *err)
{
    int error = add_arguments(f);
    if (error == 0) {
        error = add_words(f);
    }
    if (error < 0) {
        return sd_err_set(err, -error, "argument rules");
    }
    return add_names(f, SCMP_ACT_ERRNO(EPERM), REFUSED, COUNT(REFUSED), err);
}

int seccomp_compile(int *ret_fd, struct sd_err *err)
{
    io_cleanup_fd int fd = memfd_create("seccomp", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) {
        return sd_err_sys(err, "memfd");
    }
    scmp_filter_ctx f = begin(err);
    if (f == NULL) {
        return err->code;
    }
    int error = add_restricted(f, err);
    if (error == 0) {
        error = seccomp_export_bpf(f, fd);
        if (error < 0) {
            (void)sd_err_set(err, -error, "seccomp_export_bpf");
        }
    }
    seccomp_release(f);
    if (error < 0) {
        return error;
    }
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
        return sd_err_sys(err, "seal");
    }
    *ret_fd = io_take(&fd);
    return 0;
}
