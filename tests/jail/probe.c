/*
 * Runs inside a sandbox and says what the kernel answers to calls that a sandbox has no use for,
 * one line each: name and errno's name, or "ok", or "killed" where the call ends the process.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/types.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/keyctl.h>
#include <linux/landlock.h>

/* Newer than the C library's list, or than the filter's. */
#define NR_MEMFD_SECRET 447
#define NR_STATMOUNT 457
#define NR_LISTMOUNT 458
#define NR_UNKNOWN 999
#define NR_X32 (0x40000000 | 39)

static void report(const char *name, long result)
{
    printf("%s %s\n", name, result < 0 ? strerrorname_np(errno) : "ok");
}

#define CALL(name, ...) report(#name, syscall(SYS_##name, __VA_ARGS__))

static void namespaces_and_mounts(void)
{
    static const char PATH[] = "/tmp";
    CALL(unshare, CLONE_NEWUSER);
    CALL(unshare, CLONE_NEWNS);
    CALL(setns, 0, 0);
    report("clone(NEWUSER)", syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0));
    report("clone(NEWNET)", syscall(SYS_clone, CLONE_NEWNET | SIGCHLD, 0, 0, 0, 0));
    CALL(clone3, 0, 0);
    CALL(mount, "none", PATH, "tmpfs", 0, 0);
    CALL(umount2, "/proc/sys", MNT_DETACH);
    CALL(pivot_root, PATH, PATH);
    CALL(chroot, PATH);
    CALL(fsopen, "tmpfs", 0);
    CALL(fsmount, 0, 0, 0);
    CALL(fsconfig, 0, 0, 0, 0, 0);
    CALL(open_tree, AT_FDCWD, PATH, 1);
    CALL(move_mount, 0, PATH, 0, PATH, 0);
    CALL(mount_setattr, AT_FDCWD, PATH, 0, 0, 0);
    report("statmount", syscall(NR_STATMOUNT, 0, 0, 0, 0));
    report("listmount", syscall(NR_LISTMOUNT, 0, 0, 0, 0));
    CALL(quotactl, 0, 0, 0, 0);
    CALL(swapon, PATH, 0);
}

static void kernel(void)
{
    CALL(bpf, 0, 0, 0);
    CALL(perf_event_open, 0, 0, 0, 0, 0);
    CALL(userfaultfd, 0);
    CALL(io_uring_setup, 1, 0);
    CALL(io_uring_enter, 0, 0, 0, 0, 0, 0);
    CALL(keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0);
    CALL(add_key, "user", "x", "y", 1, KEY_SPEC_SESSION_KEYRING);
    CALL(request_key, "user", "x", 0, 0);
    CALL(kexec_load, 0, 0, 0, 0);
    CALL(init_module, 0, 0, "");
    CALL(finit_module, 0, "", 0);
    CALL(delete_module, "x", 0);
    CALL(reboot, 0, 0, 0, 0);
    CALL(settimeofday, 0, 0);
    CALL(clock_settime, 0, 0);
    CALL(sethostname, "x", 1);
    CALL(syslog, 3, 0, 0);
    CALL(acct, 0);
    CALL(personality, 0x0008 /* PER_BSD-like */);
    report("memfd_secret", syscall(NR_MEMFD_SECRET, 0));
    report("unknown", syscall(NR_UNKNOWN, 0));
#ifdef SYS_iopl
    CALL(iopl, 3);
    CALL(ioperm, 0, 1, 1);
    CALL(modify_ldt, 0, 0, 0);
#endif
}

static void processes_and_files(void)
{
    CALL(ptrace, PTRACE_TRACEME, 0, 0, 0);
    CALL(ptrace, PTRACE_ATTACH, 1, 0, 0);
    CALL(process_vm_readv, 1, 0, 0, 0, 0, 0);
    CALL(process_vm_writev, 1, 0, 0, 0, 0, 0);
    CALL(pidfd_getfd, 0, 0, 0);
    CALL(kcmp, 1, 1, 0, 0, 0);
    CALL(open_by_handle_at, 0, 0, 0);
    CALL(name_to_handle_at, 0, "/", 0, 0, 0);
    report("mknod(null)", mknod("/tmp/null", S_IFCHR | 0666, makedev(1, 3)));
    report("mknod(disk)", mknod("/tmp/disk", S_IFBLK | 0666, makedev(8, 0)));
    report("open(/proc/1/mem)", open("/proc/1/mem", O_RDWR));
    report("open(/proc/kcore)", open("/proc/kcore", O_WRONLY | O_TRUNC));
    report("open(/proc/sys/kernel/core_pattern)", open("/proc/sys/kernel/core_pattern", O_WRONLY));
    report("open(/proc/sys/net/ipv4/ip_forward)", open("/proc/sys/net/ipv4/ip_forward", O_WRONLY));
    report("open(/proc/sysrq-trigger)", open("/proc/sysrq-trigger", O_WRONLY));
    report("mkdir(/dev/x)", mkdir("/dev/x", 0755));
    report("chmod(/dev/null)", chmod("/dev/null", 0600));
}

static void sockets_and_terminals(void)
{
    char byte = 'x';
    int terminal = open("/dev/ptmx", O_RDWR | O_NOCTTY);
    report("socket(UNIX)", socket(AF_UNIX, SOCK_STREAM, 0));
    report("socket(INET)", socket(AF_INET, SOCK_STREAM, 0));
    report("socket(INET6)", socket(AF_INET6, SOCK_DGRAM, 0));
    report("socket(INET, RAW)", socket(AF_INET, SOCK_RAW, 1));
    report("socket(NETLINK)", socket(AF_NETLINK, SOCK_RAW, 0));
    report("socket(PACKET)", socket(AF_PACKET, SOCK_RAW, 0));
    report("socket(ALG)", socket(38, SOCK_SEQPACKET, 0));
    report("socket(VSOCK)", socket(40, SOCK_STREAM, 0));
    report("socket(XDP)", socket(44, SOCK_RAW, 0));
    report("socketpair(TIPC)", socketpair(30, SOCK_STREAM, 0, (int[2]){0}));
    report("ioctl(TIOCSTI)", syscall(SYS_ioctl, terminal, TIOCSTI, &byte));
    report("ioctl(TIOCSTI, high bits)",
           syscall(SYS_ioctl, terminal, 0x100000000UL | TIOCSTI, &byte));
    report("ioctl(TIOCLINUX)", syscall(SYS_ioctl, terminal, TIOCLINUX, &byte));
    report("ioctl(TIOCLINUX, high bits)",
           syscall(SYS_ioctl, terminal, 0xff00000000UL | TIOCLINUX, &byte));
    struct winsize size;
    report("ioctl(TIOCGWINSZ)", ioctl(terminal, TIOCGWINSZ, &size));
}

/* In a child, since the answer may be its end. */
static void foreign_calls(void)
{
#ifdef __x86_64__
    static const struct {
        const char *name;
        int x32;
    } CASES[] = {{"x32 call", 1}, {"int 0x80 call", 0}};
    for (int i = 0; i < 2; i++) {
        (void)fflush(stdout);
        pid_t pid = fork();
        if (pid == 0) {
            if (CASES[i].x32) {
                (void)syscall(NR_X32);
            } else {
                long number = 20; /* getpid of i386 */
                __asm__ volatile("int $0x80" : "+a"(number) : : "memory");
            }
            _exit(0);
        }
        int status = 0;
        (void)waitpid(pid, &status, 0);
        printf("%s %s\n", CASES[i].name, WIFSIGNALED(status) ? "killed" : "ok");
    }
#endif
}

/* Echoes what comes in, beside threads of every age. */
static atomic_int resting;

static void *rest(void *unused)
{
    (void)unused;
    resting++;
    for (;;) {
        (void)pause();
    }
    return NULL;
}

/* The C library catches a signal of its own once there are threads. */
static void forget_handlers(void)
{
    const unsigned long kernel_default[4] = {0};
    for (int signo = 32; signo <= 33; signo++) {
        (void)syscall(SYS_rt_sigaction, signo, kernel_default, NULL, 8);
    }
}

/* Until it has begun, a thread holds signals back. */
static void add_thread(void)
{
    pthread_t thread;
    int before = resting;
    if (pthread_create(&thread, NULL, rest, NULL) != 0) {
        _exit(1);
    }
    while (resting == before) {
        (void)sched_yield();
    }
    forget_handlers();
}

static int echo_with_threads(void)
{
    char byte;
    for (int i = 0; i < 3; i++) {
        add_thread();
    }
    while (read(0, &byte, 1) == 1) {
        add_thread();
        (void)!write(1, &byte, 1);
    }
    return 0;
}

/* Each process may have 16; those that cannot be added are there already. */
static int count_landlock_layers(void)
{
    struct landlock_ruleset_attr attr = {.handled_access_fs = LANDLOCK_ACCESS_FS_EXECUTE};
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
    int added = 0;
    while (ruleset >= 0 && added < 16 && syscall(SYS_landlock_restrict_self, ruleset, 0) == 0) {
        added++;
    }
    printf("%d", ruleset < 0 ? 0 : 16 - added);
    return 0;
}

/* Waits for a directory from outside, and tries to get further with it. */
static int use_directory(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    union {
        char buffer[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    char byte;
    struct iovec iov = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.buffer,
                             .msg_controllen = sizeof(control.buffer)};
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    int dir;
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    if (bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(listener, 1) < 0 || chmod(path, 0777) < 0) {
        return 1;
    }
    printf("ready\n");
    (void)fflush(stdout);
    int peer = accept(listener, NULL, NULL);
    if (recvmsg(peer, &message, 0) != 1 || CMSG_FIRSTHDR(&message) == NULL) {
        return 1;
    }
    memcpy(&dir, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(dir));
    report("open(etc/passwd)", openat(dir, "etc/passwd", O_RDONLY));
    report("open(tmp)", openat(dir, "tmp", O_RDONLY | O_DIRECTORY));
    report("create(tmp/crownest-leak)", openat(dir, "tmp/crownest-leak", O_WRONLY | O_CREAT, 0600));
    report("exec(bin/true)", syscall(SYS_execveat, dir, "usr/bin/true", NULL, NULL, 0));
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "threads") == 0) {
        return echo_with_threads();
    }
    if (argc > 1 && strcmp(argv[1], "layers") == 0) {
        return count_landlock_layers();
    }
    if (argc > 2 && strcmp(argv[1], "directory") == 0) {
        return use_directory(argv[2]);
    }
    namespaces_and_mounts();
    kernel();
    processes_and_files();
    sockets_and_terminals();
    foreign_calls();
    return 0;
}
