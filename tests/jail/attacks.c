#include "tests/jail/attacks.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/nsfs.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#define INIT_ID 65533

struct attack_targets attack_targets;
char attack_buffer[4096];

/* Nothing came, though the call went well. */
long nothing(void)
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

long clone_with(unsigned long flags)
{
    return after_clone(syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0));
}

long clone3_with(uint64_t flags)
{
    struct clone_args args = {.flags = flags, .exit_signal = SIGCHLD};
    return after_clone(syscall(SYS_clone3, &args, sizeof(args)));
}

long setns_to(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -1 : syscall(SYS_setns, fd, 0);
}

long parent_namespace(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -1 : ioctl(fd, NS_GET_PARENT);
}

int pidfd_of(pid_t pid)
{
    return (int)syscall(SYS_pidfd_open, pid, 0);
}

long chroot_escape(void)
{
    (void)mkdir("/tmp/c", 0755);
    return chroot("/tmp/c") < 0 ? -1 : chdir("../../../..");
}

long clear_nosuid(void)
{
    struct mount_attr attr = {.attr_clr = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV};
    return syscall(SYS_mount_setattr, AT_FDCWD, "/", 0, &attr, sizeof(attr));
}

long open_by_handle(void)
{
    char handle[sizeof(struct file_handle) + 8] = {8, 0, 0, 0, 1, 0, 0, 0, 2};
    return syscall(SYS_open_by_handle_at, AT_FDCWD, handle, O_RDONLY);
}

/* --- files --- */

long write_to(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    return fd < 0 ? -1 : write(fd, text, strlen(text));
}

long read_some(const char *path)
{
    char data[256];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t got = fd < 0 ? -1 : read(fd, data, sizeof(data));
    return got == 0 ? nothing() : got;
}

long read_directory(const char *path)
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

long find_in(const char *path, const char *text)
{
    static char data[1 << 16];
    size_t length = 0;
    ssize_t got = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    while (fd >= 0 && (got = read(fd, data + length, sizeof(data) - 1 - length)) > 0) {
        length += (size_t)got;
    }
    if (fd < 0 || got < 0) {
        return -1;
    }
    return strstr(data, text) != NULL ? 1 : nothing();
}

/* Frame number of a page of ours: zero to whom it is hidden from. */
long read_frame(void)
{
    uint64_t entry = 0;
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    off_t at = (off_t)((uintptr_t)attack_buffer / 4096 * 8);
    attack_buffer[0] = 1;
    if (fd < 0 || pread(fd, &entry, sizeof(entry), at) < 0) {
        return -1;
    }
    return (entry & ((1ULL << 55) - 1)) == 0 ? nothing() : 1;
}

const char *host_pid_path(void)
{
    static char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%d/cmdline", attack_targets.pid);
    return path;
}

long readlink_climb(void)
{
    (void)unlink("/tmp/climb");
    if (symlink("/../../../../../proc/1/../../crownest-canary", "/tmp/climb") < 0) {
        return -1;
    }
    return open("/tmp/climb", O_RDONLY);
}

long make_device(mode_t type, unsigned int major_number, unsigned int minor_number)
{
    (void)unlink("/tmp/device");
    return mknod("/tmp/device", type | 0666, makedev(major_number, minor_number));
}

static int own_file(void)
{
    char path[] = "/tmp/own-XXXXXX";
    return mkstemp(path);
}

long chown_to(uid_t id)
{
    return fchown(own_file(), id, (gid_t)-1);
}

long set_id_file(void)
{
    int fd = own_file();
    return fchown(fd, 0, 0) < 0 ? -1 : fchmod(fd, 04755);
}

/* Version 3 of the attribute names the root whose capabilities they are; 2 means the host's. */
long host_file_caps(void)
{
    struct vfs_ns_cap_data data = {
        .magic_etc = VFS_CAP_REVISION_3 | VFS_CAP_FLAGS_EFFECTIVE,
        .data = {{.permitted = 1U << CAP_SYS_ADMIN}},
        .rootid = 70000 /* not in our range, so of somebody outside */,
    };
    return fsetxattr(own_file(), "security.capability", &data, sizeof(data), 0);
}

long set_attribute(const char *name)
{
    return fsetxattr(own_file(), name, "y", 1, 0);
}

long set_flags(int flags)
{
    return ioctl(own_file(), _IOW('f', 2, long), &flags);
}

long ioctl_on(const char *path, unsigned long number)
{
    int argument = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -1 : syscall(SYS_ioctl, fd, number, &argument);
}

/* --- processes and privileges --- */

long vm_of_init(long call)
{
    char data[8];
    struct iovec local = {data, sizeof(data)};
    struct iovec remote = {(void *)0x400000, sizeof(data)};
    return syscall(call, 1, &local, 1, &remote, 1, 0);
}

long run_program(const char *path)
{
    char *argv[] = {(char *)(uintptr_t)path, NULL};
    char *env[] = {NULL};
    return execve(path, argv, env);
}

long as_init_open(const char *path)
{
    return setresgid(INIT_ID, INIT_ID, INIT_ID) < 0 || setresuid(INIT_ID, INIT_ID, INIT_ID) < 0
               ? -1
               : open(path, O_RDWR);
}

long forge_signal(pid_t pid, int signo)
{
    siginfo_t info = {.si_signo = signo, .si_code = CLD_EXITED};
    return syscall(SYS_rt_sigqueueinfo, pid, signo, &info);
}

long forge_credentials(pid_t pid, uid_t uid)
{
    int pair[2];
    union {
        char buffer[CMSG_SPACE(sizeof(struct ucred))];
        struct cmsghdr align;
    } control = {0};
    struct ucred forged = {.pid = pid, .uid = uid, .gid = getgid()};
    struct iovec iov = {attack_buffer, 1};
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

long capset_all(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{~0U, ~0U, 0}, {~0U, ~0U, 0}};
    return syscall(SYS_capset, &header, data);
}

/* A filter that allows all cannot loosen the one that is there. */
long filter_then_mount(void)
{
    struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {.len = 1, .filter = &allow};
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) < 0) {
        return nothing();
    }
    return mount("none", "/mnt", "tmpfs", 0, NULL);
}

/* This very program from a memfd, with nothing to do but to mount. */
long memfd_then_mount(void)
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

long raise_limit(int resource)
{
    struct rlimit limit;
    (void)getrlimit((__rlimit_resource_t)resource, &limit);
    limit.rlim_cur = ++limit.rlim_max;
    return setrlimit((__rlimit_resource_t)resource, &limit);
}

long lock_memory(void)
{
    const size_t size = 1 << 20;
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? -1 : mlock(memory, size);
}

long schedule(int policy, int priority)
{
    struct sched_param parameter = {.sched_priority = priority};
    return sched_setscheduler(0, policy, &parameter);
}

long alarm_timer(void)
{
    timer_t timer;
    return timer_create(CLOCK_REALTIME_ALARM, NULL, &timer);
}

long dump_core(void)
{
    struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        (void)setrlimit(RLIMIT_CORE, &all);
        (void)!chdir("/tmp");
        abort();
    }
    if (pid < 0 || waitpid(pid, &status, 0) < 0) {
        return -1;
    }
    return WCOREDUMP(status) ? 1 : nothing();
}

#ifdef __x86_64__
long call_i386(void)
{
    long number = 20; /* getpid */
    __asm__ volatile("int $0x80" : "+a"(number) : : "memory");
    return number;
}
#endif
