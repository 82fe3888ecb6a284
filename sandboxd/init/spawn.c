#include "sandboxd/init/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandboxd/init/nest.h"
#include "sandboxd/init/start.h"

#define GROUP_NAME_SIZE 32
#define BLOB_SEALS (F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW)
#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static struct sock_fprog filter;

int spawn_init(void)
{
    struct stat st;
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

/* --- in the child --- */

struct child {
    const struct nest_spawn *spawn;
    int blob;
    int stdio[3];
    int status;
    uid_t uid;
};

static _Noreturn void fail(const struct child *c, uint32_t step, int error)
{
    struct spawn_failure failure = {.error = -error, .step = step};
    (void)!write(c->status, &failure, sizeof(failure));
    _exit(127);
}

/* Room for both arrays and the blob; the kernel's own limit on arguments is tighter. */
static char *map_blob(const struct child *c, char ***ret_argv, char ***ret_envp)
{
    const struct nest_spawn *s = c->spawn;
    char *blob = mmap(NULL, s->blob_bytes, PROT_READ, MAP_PRIVATE, c->blob, 0);
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

static _Noreturn void child_main(const struct child *c)
{
    char **argv;
    char **envp;
    (void)map_blob(c, &argv, &envp);
    reset_signals();
    setsid();
    for (int i = 0; i < 3; i++) {
        if (dup2(c->stdio[i], i) < 0) {
            fail(c, NEST_STEP_INIT, errno);
        }
    }
    /* All but the standard ones go at exec. The server's limits on them are ours already. */
    if (syscall(SYS_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC) < 0) {
        fail(c, NEST_STEP_INIT, errno);
    }
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) < 0 || become(c->uid) < 0 ||
        set_capabilities(c->uid == 0) < 0) {
        fail(c, NEST_STEP_INIT, errno);
    }
    /* With the command's own rights, which decide whether it may be there. */
    if (chdir(c->spawn->cwd) < 0) {
        fail(c, NEST_STEP_CWD, errno);
    }
    if (strchr(argv[0], '/') != NULL) {
        execve(argv[0], argv, envp);
        fail(c, NEST_STEP_EXEC, errno);
    }
    fail(c, NEST_STEP_EXEC, argv[0][0] == '\0' ? ENOENT : exec_in_path(argv, envp));
}

/* --- in nest-init --- */

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

static pid_t clone_into(int cgroup)
{
    struct clone_args args = {
        .flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = (unsigned int)cgroup};
    return (pid_t)syscall(SYS_clone3, &args, sizeof(args));
}

int spawn_command(const struct nest_spawn *spawn, int blob, uint64_t number,
                  struct spawn_result *ret_result)
{
    int pipes[4][2] = {{-1, -1}, {-1, -1}, {-1, -1}, {-1, -1}};
    uid_t uid;
    int error = nest_user_ids(spawn->user, &uid);
    if (error < 0 || !blob_is_good(spawn, blob)) {
        return -EINVAL;
    }
    nest_cleanup_fd int cgroup = make_group(number);
    if (cgroup < 0) {
        return cgroup;
    }
    error = make_pipes(uid, pipes);
    pid_t pid = -1;
    if (error == 0) {
        struct child child = {.spawn = spawn,
                              .blob = blob,
                              .stdio = {pipes[0][0], pipes[1][1], pipes[2][1]},
                              .status = pipes[3][1],
                              .uid = uid};
        pid = clone_into(cgroup);
        if (pid == 0) {
            child_main(&child);
        }
        error = pid < 0 ? -errno : 0;
    }
    /* The command's ends; on failure ours too. */
    for (int i = 0; i < 4; i++) {
        nest_close(&pipes[i][i == 0 ? 0 : 1]);
        if (error < 0) {
            nest_close(&pipes[i][i == 0 ? 1 : 0]);
        }
    }
    if (error < 0) {
        nest_close(&cgroup);
        spawn_remove_group(number);
        return error;
    }
    *ret_result = (struct spawn_result){.pid = pid,
                                        .status = pipes[3][0],
                                        .cgroup = cgroup,
                                        .pipes = {pipes[0][1], pipes[1][0], pipes[2][0]}};
    cgroup = -1;
    return 0;
}
