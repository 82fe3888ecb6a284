#include "sandboxd/jail.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <linux/sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandboxd/caps.h"
#include "sandboxd/cgroup.h"
#include "sandboxd/control.h"
#include "sandboxd/dev.h"
#include "sandboxd/init/start.h"
#include "sandboxd/io.h"
#include "sandboxd/mounts.h"
#include "sandboxd/net.h"
#include "sandboxd/proc.h"
#include "sandboxd/rlimits.h"
#include "sandboxd/userns.h"
#include "sandboxd/volume.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
/* The same for all: a jail is built before it is known which sandbox will live in it. */
#define HOSTNAME "sandbox"
#define NAMESPACES                                                                                 \
    (CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP)

struct build {
    const struct jail_spec *spec;
    int volume;   /* the layer's, or -1 */
    int cgroup;   /* crownest/<id> of the v2 tree, delegated to nest-init */
    int control;  /* the server's connection to nest-init */
    int listener; /* nest-init's end */
    int sync[2];  /* builder's end, child's end: "go" one way, a struct sd_err the other */
    pid_t pid;
    int pidfd;
};

struct step {
    const char *name;
    int (*run)(struct build *build, struct sd_err *err);
};

static int run_steps(const struct step *steps, size_t count, struct build *b, struct sd_err *err)
{
    for (size_t i = 0; i < count; i++) {
        int error = b->spec->before_step == NULL ? 0 : b->spec->before_step(steps[i].name);
        error = error < 0 ? sd_err_set(err, -error, "told to fail") : steps[i].run(b, err);
        if (error < 0) {
            sd_err_step(err, steps[i].name);
            return error;
        }
    }
    return 0;
}

/* --- the process that becomes nest-init: async-signal-safe calls only --- */

static int child_wait(struct build *b, struct sd_err *err)
{
    char go;
    close(b->sync[0]);
    return read(b->sync[1], &go, 1) == 1 ? 0 : sd_err_set(err, ECANCELED, "builder gave up");
}

static int child_root(struct build *b, struct sd_err *err)
{
    (void)b;
    return userns_become_root(err);
}

static int child_mounts(struct build *b, struct sd_err *err)
{
    (void)b;
    return mounts_enter(err);
}

static int child_proc(struct build *b, struct sd_err *err)
{
    (void)b;
    return proc_mount(err);
}

static int child_pivot(struct build *b, struct sd_err *err)
{
    (void)b;
    return mounts_pivot(err);
}

static int child_net(struct build *b, struct sd_err *err)
{
    (void)b;
    return net_loopback_up(err);
}

static int child_uts(struct build *b, struct sd_err *err)
{
    (void)b;
    if (sethostname(HOSTNAME, sizeof(HOSTNAME) - 1) < 0 || setdomainname("", 0) < 0) {
        return sd_err_sys(err, "hostname");
    }
    return 0;
}

/*
 * What sandboxd was started with and without would else be inherited by every command. The C
 * library refuses to touch the two signals that it keeps for itself, which a parent may have
 * ignored all the same; so the kernel is asked. Its struct begins with the handler: zero is
 * default.
 */
static void reset_signals(void)
{
    const unsigned long kernel_default[4] = {0};
    for (int signo = 1; signo < NSIG; signo++) {
        (void)syscall(SYS_rt_sigaction, signo, kernel_default, NULL, (NSIG - 1) / 8);
    }
}

static int child_session(struct build *b, struct sd_err *err)
{
    (void)b;
    reset_signals();
    if (setsid() < 0) {
        return sd_err_sys(err, "setsid");
    }
    /* An empty session keyring of its own, or it would hold on to sandboxd's. */
    if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL) < 0 && errno != ENOSYS) {
        return sd_err_sys(err, "session keyring");
    }
    umask(022);
    return 0;
}

static int child_rlimits(struct build *b, struct sd_err *err)
{
    return rlimits_set(b->spec->policy, &b->spec->limits, err);
}

static int child_caps(struct build *b, struct sd_err *err)
{
    (void)b;
    return caps_drop(err);
}

static int child_exec(struct build *b, struct sd_err *err)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0) {
        return sd_err_sys(err, "/dev/null");
    }
    const int from[NEST_FD_COUNT] = {
        null, null, null, null, b->listener, b->cgroup, b->spec->seccomp_filter};
    int high[NEST_FD_COUNT];
    for (int i = 0; i < NEST_FD_COUNT; i++) {
        high[i] = fcntl(from[i], F_DUPFD_CLOEXEC, NEST_FD_COUNT * 2);
        if (high[i] < 0) {
            return sd_err_sys(err, "duplicate descriptor");
        }
    }
    int image = fcntl(b->spec->init_image, F_DUPFD_CLOEXEC, NEST_FD_COUNT * 2);
    /* The builder's end is close-on-exec, so its end of file says that the exec went well. */
    int sync = fcntl(b->sync[1], F_DUPFD_CLOEXEC, NEST_FD_COUNT * 2);
    if (image < 0 || sync < 0) {
        return sd_err_sys(err, "duplicate descriptor");
    }
    b->sync[1] = sync;
    for (int i = 0; i < NEST_FD_COUNT; i++) {
        if (dup2(high[i], i) < 0) {
            return sd_err_sys(err, "dup2");
        }
    }
    if (syscall(SYS_close_range, NEST_FD_COUNT, ~0U, CLOSE_RANGE_CLOEXEC) < 0) {
        return sd_err_sys(err, "close_range");
    }
    char name[] = "nest-init";
    char *argv[] = {name, NULL};
    char *env[] = {NULL};
    (void)syscall(SYS_execveat, image, "", argv, env, AT_EMPTY_PATH);
    return sd_err_sys(err, "nest-init");
}

/* The stage is the host root's, so it is left before the child becomes the root of its own range.
 */
static const struct step CHILD_STEPS[] = {
    {"wait", child_wait},       {"mount-namespace", child_mounts},
    {"userns", child_root},     {"proc", child_proc},
    {"pivot", child_pivot},     {"net", child_net},
    {"uts", child_uts},         {"session", child_session},
    {"rlimits", child_rlimits}, {"capabilities", child_caps},
    {"exec", child_exec},
};

static _Noreturn void child_main(struct build *b)
{
    struct sd_err err = {0};
    (void)run_steps(CHILD_STEPS, COUNT(CHILD_STEPS), b, &err);
    (void)io_send_fds(b->sync[1], &err, sizeof(err), NULL, 0, 0);
    _exit(1);
}

/* --- the builder --- */

/*
 * Before it is in the sandbox's groups: a sandbox that may use next to nothing must not be what
 * holds up a change that all layers on the volume wait for.
 */
static int build_volume(struct build *b, struct sd_err *err)
{
    return volume_create(b->spec->id, b->spec->limits.disk_bytes, &b->volume, err);
}

static int build_cgroups(struct build *b, struct sd_err *err)
{
    const struct jail_spec *spec = b->spec;
    uid_t init = spec->base + NEST_INIT_ID;
    int error = cgroup_create(spec->id, &spec->limits, init, init, err);
    if (error == 0) {
        /* The child inherits the builder's groups: it never runs an instruction outside them. */
        error = cgroup_enter(spec->id, err);
    }
    return error < 0 ? error : cgroup_open(spec->id, &b->cgroup, err);
}

static int build_sockets(struct build *b, struct sd_err *err)
{
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, b->sync) < 0) {
        return sd_err_sys(err, "socketpair");
    }
    return control_listen(b->spec->id, &b->listener, &b->control, err);
}

static int build_namespace(struct build *b, struct sd_err *err)
{
    if (chdir(b->spec->stage) < 0) {
        return sd_err_sys(err, b->spec->stage);
    }
    (void)b;
    int error = mounts_unshare(err);
    /* The working directory must be the one of the new namespace. */
    if (error == 0 && chdir(b->spec->stage) < 0) {
        error = sd_err_sys(err, b->spec->stage);
    }
    return error;
}

static int build_clone(struct build *b, struct sd_err *err)
{
    struct clone_args args = {
        .flags = NAMESPACES | CLONE_PIDFD,
        .pidfd = (uint64_t)(uintptr_t)&b->pidfd,
        .exit_signal = SIGCHLD,
    };
    long pid = syscall(SYS_clone3, &args, sizeof(args));
    if (pid == 0) {
        child_main(b);
    }
    if (pid < 0) {
        return sd_err_sys(err, "clone3");
    }
    b->pid = (pid_t)pid;
    close(b->sync[1]);
    b->sync[1] = -1;
    return 0;
}

static int build_settle(struct build *b, struct sd_err *err)
{
    int error = cgroup_settle(b->spec->id, b->pid, err);
    struct sd_err said;
    /* A child that ends meanwhile is in nobody's way but here, and has said why it ends. */
    if (error < 0 && recv(b->sync[0], &said, sizeof(said), MSG_DONTWAIT) == sizeof(said) &&
        said.code < 0) {
        *err = said;
        return said.code;
    }
    return error;
}

static int build_userns(struct build *b, struct sd_err *err)
{
    return userns_map(b->pid, b->spec->base, err);
}

static int build_layer(struct build *b, struct sd_err *err)
{
    struct mounts_layer layer = {
        .disk_bytes = b->spec->limits.disk_bytes,
        .inodes = b->spec->limits.disk_inodes,
        .shm_bytes = b->spec->limits.memory_bytes / 2,
        .base = b->spec->base,
        .volume = b->volume,
    };
    return mounts_writable_layer(&layer, err);
}

static int build_template(struct build *b, struct sd_err *err)
{
    io_cleanup_fd int userns = -1;
    int error = userns_open(b->pid, &userns, err);
    return error < 0 ? error : mounts_template(b->spec->image_root, userns, err);
}

static int build_overlay(struct build *b, struct sd_err *err)
{
    (void)b;
    return mounts_overlay(err);
}

static int build_dev(struct build *b, struct sd_err *err)
{
    int error = dev_mount(b->spec->base, b->spec->limits.max_ptys, err);
    return error < 0 ? error : mounts_shm(err);
}

static int build_start(struct build *b, struct sd_err *err)
{
    int error = write(b->sync[0], "g", 1) == 1 ? 0 : sd_err_sys(err, "start the child");
    if (error < 0 && error != -EPIPE) {
        return error;
    }
    /* One that has ended before it was started has said why. */
    struct sd_err said;
    ssize_t got = read(b->sync[0], &said, sizeof(said));
    if (got == 0) {
        return error;
    }
    if (got != (ssize_t)sizeof(said) || said.code >= 0) {
        return sd_err_set(err, EPROTO, "child's report");
    }
    *err = said;
    return said.code;
}

static const struct step BUILD_STEPS[] = {
    {"volume", build_volume},   {"cgroup", build_cgroups}, {"sockets", build_sockets},
    {"stage", build_namespace}, {"clone", build_clone},    {"cgroup-settle", build_settle},
    {"userns", build_userns},   {"layer", build_layer},    {"template", build_template},
    {"overlay", build_overlay}, {"dev", build_dev},        {"start", build_start},
};

int jail_build(const struct jail_spec *spec, struct jail *ret_jail, struct sd_err *err)
{
    struct build b = {.spec = spec,
                      .volume = -1,
                      .cgroup = -1,
                      .control = -1,
                      .listener = -1,
                      .sync = {-1, -1},
                      .pidfd = -1};
    int error = run_steps(BUILD_STEPS, COUNT(BUILD_STEPS), &b, err);
    if (error < 0) {
        return error; /* the builder ends, and with it the child, which waits or has failed */
    }
    *ret_jail = (struct jail){.pid = b.pid, .pidfd = b.pidfd, .control = b.control};
    return 0;
}
