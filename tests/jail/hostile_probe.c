/*
 * Runs inside a sandbox: makes each attack of hostile_cases.h in a child of its own and reports a
 * line for each, "outcome name". Arguments: a TCP port on which the host listens on its loopback,
 * the pid of a process of the host, the path of sandboxd's socket on the host.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/nsfs.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <mqueue.h>
#include <net/if.h>
#include <net/route.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#define CASE_SECONDS 10
#define INIT_ID 65533

static uint16_t host_port;
static int host_pid;
static const char *daemon_socket;
static char log_buffer[4096];

/* Nothing came, though the call went well. */
static long nothing(void)
{
    errno = ENODATA;
    return -1;
}

/* --- namespaces, mounts --- */

/* The child's success is ours. */
static long after_clone(long pid)
{
    if (pid == 0) {
        _exit(0);
    }
    return pid;
}

static long clone_with(unsigned long flags)
{
    return after_clone(syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0));
}

static long clone3_with(uint64_t flags)
{
    struct clone_args args = {.flags = flags, .exit_signal = SIGCHLD};
    return after_clone(syscall(SYS_clone3, &args, sizeof(args)));
}

static long setns_to(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -1 : syscall(SYS_setns, fd, 0);
}

static long parent_namespace(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -1 : ioctl(fd, NS_GET_PARENT);
}

static int pidfd_of(pid_t pid)
{
    return (int)syscall(SYS_pidfd_open, pid, 0);
}

static long chroot_escape(void)
{
    (void)mkdir("/tmp/c", 0755);
    return chroot("/tmp/c") < 0 ? -1 : chdir("../../../..");
}

static long clear_nosuid(void)
{
    struct mount_attr attr = {.attr_clr = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV};
    return syscall(SYS_mount_setattr, AT_FDCWD, "/", 0, &attr, sizeof(attr));
}

static long open_by_handle(void)
{
    char handle[sizeof(struct file_handle) + 8] = {8, 0, 0, 0, 1, 0, 0, 0, 2};
    return syscall(SYS_open_by_handle_at, AT_FDCWD, handle, O_RDONLY);
}

/* --- files --- */

static long write_to(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    return fd < 0 ? -1 : write(fd, text, strlen(text));
}

static long read_some(const char *path)
{
    char data[256];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t got = fd < 0 ? -1 : read(fd, data, sizeof(data));
    return got == 0 ? nothing() : got;
}

static long read_directory(const char *path)
{
    DIR *dir = opendir(path);
    long count = 0;
    if (dir == NULL) {
        return -1;
    }
    errno = 0;
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        count += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    }
    if (count == 0) {
        return errno != 0 ? -1 : nothing();
    }
    return count;
}

/* Frame number of a page of ours: zero to whom it is hidden from. */
static long read_frame(void)
{
    uint64_t entry = 0;
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    off_t at = (off_t)((uintptr_t)log_buffer / 4096 * 8);
    log_buffer[0] = 1;
    if (fd < 0 || pread(fd, &entry, sizeof(entry), at) < 0) {
        return -1;
    }
    return (entry & ((1ULL << 55) - 1)) == 0 ? nothing() : 1;
}

static const char *host_pid_path(void)
{
    static char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%d/cmdline", host_pid);
    return path;
}

static long readlink_climb(void)
{
    (void)unlink("/tmp/climb");
    if (symlink("/../../../../../proc/1/../../crownest-canary", "/tmp/climb") < 0) {
        return -1;
    }
    return open("/tmp/climb", O_RDONLY);
}

static long make_device(mode_t type, unsigned int major_number, unsigned int minor_number)
{
    (void)unlink("/tmp/device");
    return mknod("/tmp/device", type | 0666, makedev(major_number, minor_number));
}

static int own_file(void)
{
    char path[] = "/tmp/own-XXXXXX";
    return mkstemp(path);
}

static long chown_to(uid_t id)
{
    return fchown(own_file(), id, (gid_t)-1);
}

static long set_id_file(void)
{
    int fd = own_file();
    return fchown(fd, 0, 0) < 0 ? -1 : fchmod(fd, 04755);
}

/* Version 3 of the attribute names the root whose capabilities they are; 2 means the host's. */
static long host_file_caps(void)
{
    struct vfs_ns_cap_data data = {
        .magic_etc = VFS_CAP_REVISION_3 | VFS_CAP_FLAGS_EFFECTIVE,
        .data = {{.permitted = 1U << CAP_SYS_ADMIN}},
        .rootid = 70000 /* not in our range, so of somebody outside */,
    };
    return fsetxattr(own_file(), "security.capability", &data, sizeof(data), 0);
}

static long set_attribute(const char *name)
{
    return fsetxattr(own_file(), name, "y", 1, 0);
}

static long set_flags(int flags)
{
    return ioctl(own_file(), _IOW('f', 2, long), &flags);
}

static long ioctl_on(const char *path, unsigned long number)
{
    int argument = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -1 : syscall(SYS_ioctl, fd, number, &argument);
}

static long terminal_ioctl(unsigned long number)
{
    char byte = 'x';
    int fd = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
    return fd < 0 ? -1 : syscall(SYS_ioctl, fd, number, &byte);
}

/* On the side of a terminal that programs use. */
static long peer_ioctl(unsigned long number)
{
    int unlocked = 0;
    int fd = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
    (void)ioctl(fd, TIOCSPTLCK, &unlocked);
    int peer = ioctl(fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    return peer < 0 ? nothing() : ioctl(peer, number, NULL);
}

/* --- processes and privileges --- */

static long vm_of_init(long call)
{
    char data[8];
    struct iovec local = {data, sizeof(data)};
    struct iovec remote = {(void *)0x400000, sizeof(data)};
    return syscall(call, 1, &local, 1, &remote, 1, 0);
}

static long run_program(const char *path)
{
    char *argv[] = {(char *)(uintptr_t)path, NULL};
    char *env[] = {NULL};
    return execve(path, argv, env);
}

static long as_init_open(const char *path)
{
    return setresgid(INIT_ID, INIT_ID, INIT_ID) < 0 || setresuid(INIT_ID, INIT_ID, INIT_ID) < 0
               ? -1
               : open(path, O_RDWR);
}

static long forge_signal(pid_t pid, int signo)
{
    siginfo_t info = {.si_signo = signo, .si_code = CLD_EXITED};
    return syscall(SYS_rt_sigqueueinfo, pid, signo, &info);
}

static long forge_credentials(pid_t pid, uid_t uid)
{
    int pair[2];
    union {
        char buffer[CMSG_SPACE(sizeof(struct ucred))];
        struct cmsghdr align;
    } control = {0};
    struct ucred forged = {.pid = pid, .uid = uid, .gid = getgid()};
    struct iovec iov = {log_buffer, 1};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.buffer,
                             .msg_controllen = sizeof(control.buffer)};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_CREDENTIALS;
    header->cmsg_len = CMSG_LEN(sizeof(forged));
    memcpy(CMSG_DATA(header), &forged, sizeof(forged));
    return socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) < 0 ? -1 : sendmsg(pair[0], &message, 0);
}

static long capset_all(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{~0U, ~0U, 0}, {~0U, ~0U, 0}};
    return syscall(SYS_capset, &header, data);
}

/* A filter that allows all cannot loosen the one that is there. */
static long filter_then_mount(void)
{
    struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {.len = 1, .filter = &allow};
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) < 0) {
        return nothing();
    }
    return mount("none", "/mnt", "tmpfs", 0, NULL);
}

/* This very program from a memfd, with nothing to do but to mount. */
static long memfd_then_mount(void)
{
    int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    int fd = memfd_create("x", 0);
    int status = 0;
    ssize_t got = 1;
    while (got > 0) {
        got = sendfile(fd, self, NULL, 1 << 20);
    }
    pid_t pid = fork();
    if (pid == 0) {
        char name[] = "mount";
        char *argv[] = {name, NULL};
        char *env[] = {NULL};
        (void)syscall(SYS_execveat, fd, "", argv, env, AT_EMPTY_PATH);
        _exit(0);
    }
    (void)waitpid(pid, &status, 0);
    errno = WEXITSTATUS(status);
    return errno == 0 ? 0 : -1;
}

static long raise_limit(int resource)
{
    struct rlimit limit;
    (void)getrlimit((__rlimit_resource_t)resource, &limit);
    limit.rlim_cur = ++limit.rlim_max;
    return setrlimit((__rlimit_resource_t)resource, &limit);
}

static long lock_memory(void)
{
    const size_t size = 1 << 20;
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? -1 : mlock(memory, size);
}

static long schedule(int policy, int priority)
{
    struct sched_param parameter = {.sched_priority = priority};
    return sched_setscheduler(0, policy, &parameter);
}

static long alarm_timer(void)
{
    timer_t timer;
    return timer_create(CLOCK_REALTIME_ALARM, NULL, &timer);
}

#ifdef __x86_64__
static long call_i386(void)
{
    long number = 20; /* getpid */
    __asm__ volatile("int $0x80" : "+a"(number) : : "memory");
    return number;
}
#endif

/* --- sockets --- */

static long open_queue(void)
{
    return mq_open("/crownest-canary", O_RDONLY);
}

static struct sockaddr_in address_of(const char *address, uint16_t port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
    (void)inet_pton(AF_INET, address, &in.sin_addr);
    return in;
}

static long connect_to(const char *address, uint16_t port)
{
    struct sockaddr_in in = address_of(address, port);
    return connect(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&in, sizeof(in));
}

static long connect_to6(const char *address, uint16_t port)
{
    struct sockaddr_in6 in = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    (void)inet_pton(AF_INET6, address, &in.sin6_addr);
    return connect(socket(AF_INET6, SOCK_STREAM, 0), (struct sockaddr *)&in, sizeof(in));
}

static long send_to(const char *address, uint16_t port)
{
    struct sockaddr_in in = address_of(address, port);
    return sendto(socket(AF_INET, SOCK_DGRAM, 0), "x", 1, 0, (struct sockaddr *)&in, sizeof(in));
}

static long bind_port(uint16_t port)
{
    struct sockaddr_in in = address_of("127.0.0.1", port);
    return bind(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&in, sizeof(in));
}

static long connect_unix(const char *name, size_t skip)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    size_t length = strlen(name);
    memcpy(un.sun_path + skip, name, length);
    return connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&un,
                   (socklen_t)(offsetof(struct sockaddr_un, sun_path) + skip + length));
}

static long connect_abstract(const char *name)
{
    return connect_unix(name, 1);
}

static long connect_path(const char *path)
{
    return connect_unix(path, 0);
}

static long interface_down(void)
{
    struct ifreq request = {.ifr_name = "lo"};
    return ioctl(socket(AF_INET, SOCK_DGRAM, 0), SIOCSIFFLAGS, &request);
}

static long route_add(void)
{
    struct rtentry entry = {.rt_flags = RTF_UP};
    return ioctl(socket(AF_INET, SOCK_DGRAM, 0), SIOCADDRT, &entry);
}

static long setsockopt_on(int level, int option)
{
    int value[32] = {1 << 24};
    return setsockopt(socket(AF_INET, SOCK_STREAM, 0), level, option, value, sizeof(value));
}

/* --- the table --- */

#define JOIN(a, b) a##b
#define FUNCTION(line) JOIN(attack_, line)
#define CASE(name, attack, user, root)                                                             \
    static long FUNCTION(__LINE__)(void)                                                           \
    {                                                                                              \
        return (attack);                                                                           \
    }
#include "tests/jail/hostile_cases.h"
#undef CASE

static const struct {
    const char *name;
    long (*attack)(void);
} CASES[] = {
#define CASE(name, attack, user, root) {name, FUNCTION(__LINE__)},
#include "tests/jail/hostile_cases.h"
#undef CASE
};

/* The child's exit code is errno, or 0. */
static void make_attack(size_t i)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        (void)alarm(CASE_SECONDS);
        _exit(CASES[i].attack() < 0 ? errno : 0);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid) {
        printf("lost %s\n", CASES[i].name);
    } else if (WIFSIGNALED(status)) {
        printf("%s %s\n", WTERMSIG(status) == SIGALRM ? "hung" : "killed", CASES[i].name);
    } else if (WEXITSTATUS(status) != 0) {
        printf("%s %s\n", strerrorname_np(WEXITSTATUS(status)), CASES[i].name);
    } else {
        printf("ok %s\n", CASES[i].name);
    }
    (void)fflush(stdout);
}

int main(int argc, char **argv)
{
    if (argc == 1 && strcmp(argv[0], "mount") == 0) {
        return mount("none", "/mnt", "tmpfs", 0, NULL) < 0 ? errno : 0;
    }
    if (argc != 4) {
        return 2;
    }
    host_port = (uint16_t)atoi(argv[1]);
    host_pid = atoi(argv[2]);
    daemon_socket = argv[3];
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        make_attack(i);
    }
    return 0;
}
