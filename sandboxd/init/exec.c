#include "sandboxd/init/exec.h"

#include <errno.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandboxd/init/landlock.h"
#include "sandboxd/init/nest.h"
#include "sandboxd/init/start.h"

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define OWN_SOCKET 3

static struct sock_fprog filter;
static struct rlimit open_files; /* of commands */

/* What commands get is kept, and nest-init takes all it may have. */
static int split_open_files(void)
{
    struct rlimit own;
    if (getrlimit(RLIMIT_NOFILE, &own) < 0) {
        return -errno;
    }
    open_files = (struct rlimit){own.rlim_cur, own.rlim_cur};
    own.rlim_cur = own.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &own) < 0 ? -errno : 0;
}

int exec_init(void)
{
    struct stat st;
    int error = split_open_files();
    if (error < 0) {
        return error;
    }
    if (fstat(NEST_FD_SECCOMP, &st) < 0) {
        return -errno;
    }
    size_t size = (size_t)st.st_size;
    void *program = mmap(NULL, size, PROT_READ, MAP_PRIVATE, NEST_FD_SECCOMP, 0);
    if (program == MAP_FAILED) {
        return -errno;
    }
    filter.filter = program;
    filter.len = (unsigned short)(size / sizeof(struct sock_filter));
    close(NEST_FD_SECCOMP);
    return 0;
}

/* A cgroup's worth of nothing, until the order comes. */
struct child {
    struct nest_spawn spawn;
    int fds[EXEC_FD_COUNT];
    uid_t uid;
};

static _Noreturn void fail(const struct child *c, uint32_t step, int error)
{
    struct exec_failure failure = {.error = -error, .step = step};
    (void)!write(c->fds[EXEC_FD_STATUS], &failure, sizeof(failure));
    _exit(127);
}

/* Room for both arrays and the blob; the kernel's own limit on arguments is tighter. */
static char *map_blob(const struct child *c, char ***ret_argv, char ***ret_envp)
{
    const struct nest_spawn *s = &c->spawn;
    char *blob = mmap(NULL, s->blob_bytes, PROT_READ, MAP_PRIVATE, c->fds[EXEC_FD_BLOB], 0);
    size_t pointers = ((size_t)s->argc + s->envc + 2) * sizeof(char *);
    char **array = mmap(NULL, pointers, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (blob == MAP_FAILED || array == MAP_FAILED) {
        fail(c, NEST_STEP_INIT, errno);
    }
    char *at = blob;
    char *end = blob + s->blob_bytes;
    size_t slot = 0;
    for (size_t i = 0; i < (size_t)s->argc + s->envc; i++) {
        char *nul = memchr(at, '\0', (size_t)(end - at));
        if (nul == NULL) {
            fail(c, NEST_STEP_INIT, EPROTO);
        }
        if (i == s->argc) {
            slot++;
        }
        array[slot++] = at;
        at = nul + 1;
    }
    *ret_argv = array;
    *ret_envp = array + s->argc + 1;
    return blob;
}

static const char *search_path(char *const *envp)
{
    for (; *envp != NULL; envp++) {
        if (strncmp(*envp, "PATH=", 5) == 0) {
            return *envp + 5;
        }
    }
    return DEFAULT_PATH;
}

/* As execvp: the first that works; a file that may not be run is reported only if none does. */
static int exec_in_path(char **argv, char **envp)
{
    int error = ENOENT;
    const char *name = argv[0];
    size_t name_length = strlen(name);
    const char *dir = search_path(envp);
    while (dir != NULL) {
        char full[PATH_MAX];
        const char *colon = strchr(dir, ':');
        size_t length = colon == NULL ? strlen(dir) : (size_t)(colon - dir);
        if (length + name_length + 2 <= sizeof(full)) {
            memcpy(full, dir, length);
            full[length] = '/';
            /* An empty entry means the working directory. */
            memcpy(full + length + (length > 0), name, name_length + 1);
            execve(full, argv, envp);
            if (errno == EACCES) {
                error = EACCES;
            } else if (errno != ENOENT && errno != ENOTDIR) {
                return errno;
            }
        }
        dir = colon == NULL ? NULL : colon + 1;
    }
    return error;
}

static int set_capabilities(bool root)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{0}};
    /* Root's come from the bounding set at exec. */
    return root ? 0 : (int)syscall(SYS_capset, &header, data);
}

static int become(uid_t uid)
{
    gid_t gid = uid;
    if (syscall(SYS_setgroups, 1, &gid) < 0 || syscall(SYS_setresgid, gid, gid, gid) < 0) {
        return -1;
    }
    return (int)syscall(SYS_setresuid, uid, uid, uid);
}

static void reset_signals(void)
{
    sigset_t none;
    struct sigaction dfl = {.sa_handler = SIG_DFL};
    /* nest-init ignores only this one. */
    sigaction(SIGPIPE, &dfl, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* All that does not depend on the order. */
static int prepare(int *socket)
{
    reset_signals();
    if (setsid() < 0 || dup2(*socket, OWN_SOCKET) < 0) {
        return -errno;
    }
    *socket = OWN_SOCKET;
    int error = landlock_confine();
    if (error < 0) {
        return error;
    }
    /* nest-init's other descriptors are not for here, and some must end when it closes them. */
    if (syscall(SYS_close_range, OWN_SOCKET + 1, ~0U, 0) < 0 ||
        setrlimit(RLIMIT_NOFILE, &open_files) < 0 ||
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) < 0) {
        return -errno;
    }
    return 0;
}

static bool receive_order(int socket, struct child *c)
{
    union {
        char buffer[CMSG_SPACE(sizeof(c->fds))];
        struct cmsghdr align;
    } control;
    struct iovec iov = {.iov_base = &c->spawn, .iov_len = sizeof(c->spawn)};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.buffer,
                             .msg_controllen = sizeof(control.buffer)};
    if (recvmsg(socket, &message, MSG_CMSG_CLOEXEC) != (ssize_t)sizeof(c->spawn)) {
        return false;
    }
    const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header == NULL || header->cmsg_len != CMSG_LEN(sizeof(c->fds))) {
        return false;
    }
    memcpy(c->fds, CMSG_DATA(header), sizeof(c->fds));
    return nest_user_ids(c->spawn.user, &c->uid) == 0;
}

static _Noreturn void carry_out(const struct child *c)
{
    char **argv;
    char **envp;
    (void)map_blob(c, &argv, &envp);
    for (int i = 0; i < 3; i++) {
        if (dup2(c->fds[EXEC_FD_STDIN + i], i) < 0) {
            fail(c, NEST_STEP_INIT, errno);
        }
    }
    if ((c->spawn.flags & NEST_TERMINAL) != 0 && ioctl(0, TIOCSCTTY, 0) < 0) {
        fail(c, NEST_STEP_INIT, errno);
    }
    /* Whatever else is open, by whatever mistake, goes at exec. */
    if (syscall(SYS_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC) < 0 || become(c->uid) < 0 ||
        set_capabilities(c->uid == 0) < 0) {
        fail(c, NEST_STEP_INIT, errno);
    }
    /* With the command's own rights, which decide whether it may be there. */
    if (chdir(c->spawn.cwd) < 0) {
        fail(c, NEST_STEP_CWD, errno);
    }
    if (strchr(argv[0], '/') != NULL) {
        execve(argv[0], argv, envp);
        fail(c, NEST_STEP_EXEC, errno);
    }
    fail(c, NEST_STEP_EXEC, argv[0][0] == '\0' ? ENOENT : exec_in_path(argv, envp));
}

_Noreturn void exec_wait(int socket)
{
    static struct child child;
    /* Either way nest-init sees that the other end of the socket, or of the status pipe, is gone.
     */
    if (prepare(&socket) < 0 || !receive_order(socket, &child)) {
        _exit(1);
    }
    carry_out(&child);
}
