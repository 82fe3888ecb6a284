/*
 * Failpoints of sandboxd, whose own source has none: linked with --wrap for each function below,
 * this passes a failpoint before and after what sandboxd, its builders and its removers do, and
 * before each step of a jail. A kill9 kills sandboxd itself, whichever process came to the place;
 * one that is no longer in its pid namespace has a helper do it, and stands still.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandboxd/cgroup.h"
#include "sandboxd/control.h"
#include "sandboxd/inventory.h"
#include "sandboxd/jail.h"
#include "sandboxd/lifecycle.h"
#include "sandboxd/server.h"
#include "sandboxd/work.h"
#include "server/util/failpoint.h"

#define REAL(type, name, ...)                                                                      \
    type __real_##name(__VA_ARGS__);                                                               \
    type __wrap_##name(__VA_ARGS__);                                                               \
    type __wrap_##name(__VA_ARGS__)

static pid_t daemon_pid;
static int helper = -1; /* write a byte to have the daemon killed */

static void kill_daemon(void)
{
    if (getpid() == daemon_pid) {
        (void)kill(daemon_pid, SIGKILL);
    }
    (void)!write(helper, "k", 1);
    for (;;) {
        (void)pause();
    }
}

static _Noreturn void help(int from)
{
    char byte;
    (void)dup2(from, 0);
    (void)syscall(SYS_close_range, 1, ~0U, 0);
    if (read(0, &byte, 1) == 1) {
        (void)kill(daemon_pid, SIGKILL);
    }
    _exit(0);
}

/* Before main, so that everything it forks shares what is counted. */
__attribute__((constructor)) static void begin(void)
{
    int ends[2];
    daemon_pid = getpid();
    failpoint_init(kill_daemon);
    if (pipe2(ends, O_CLOEXEC) < 0) {
        _exit(1);
    }
    if (fork() == 0) {
        help(ends[0]);
    }
    close(ends[0]);
    helper = ends[1];
}

static int before_step(const char *name)
{
    char point[64];
    (void)snprintf(point, sizeof(point), "sandboxd.step.%s", name);
    return failpoint_pass(point);
}

REAL(int, jail_build, const struct jail_spec *spec, struct jail *ret_jail, struct sd_err *err)
{
    struct jail_spec watched = *spec;
    watched.before_step = before_step;
    int error = __real_jail_build(&watched, ret_jail, err);
    FAILPOINT("sandboxd.build.done");
    return error;
}

REAL(int, inventory_put, const char *id, uint32_t slot, pid_t pid, struct sd_err *err)
{
    int error = FAILPOINT_ERROR("sandboxd.note.before");
    if (error < 0) {
        return sd_err_set(err, -error, "told to fail");
    }
    error = __real_inventory_put(id, slot, pid, err);
    FAILPOINT("sandboxd.note.after");
    return error;
}

REAL(void, inventory_remove, const char *id)
{
    FAILPOINT("sandboxd.forget.before");
    if (!FAILPOINT_SKIP("broken.forget")) {
        __real_inventory_remove(id);
    }
    FAILPOINT("sandboxd.forget.after");
}

REAL(bool, server_answer, const struct sandbox_asker *asker, const struct sd_reply *reply,
     const int *fds, size_t fd_count)
{
    FAILPOINT("sandboxd.answer.before");
    bool sent = __real_server_answer(asker, reply, fds, fd_count);
    FAILPOINT("sandboxd.answer.after");
    return sent;
}

REAL(int, work_teardown, const char *id, int pidfd, struct work *ret_work, struct sd_err *err)
{
    FAILPOINT("sandboxd.teardown.before");
    return __real_work_teardown(id, pidfd, ret_work, err);
}

REAL(int, cgroup_kill, const char *id)
{
    FAILPOINT("sandboxd.teardown.kill");
    return __real_cgroup_kill(id);
}

REAL(int, cgroup_remove, const char *id)
{
    FAILPOINT("sandboxd.teardown.remove");
    int error = __real_cgroup_remove(id);
    FAILPOINT("sandboxd.teardown.removed");
    return error;
}

REAL(int, cgroup_set_frozen, const char *id, bool frozen)
{
    int error = FAILPOINT_ERROR("sandboxd.freeze.before");
    if (error == 0) {
        error = __real_cgroup_set_frozen(id, frozen);
    }
    FAILPOINT("sandboxd.freeze.after");
    return error;
}

REAL(int, control_connect, const char *id, int *ret_connection, struct sd_err *err)
{
    FAILPOINT("sandboxd.adopt.before");
    int error = __real_control_connect(id, ret_connection, err);
    FAILPOINT("sandboxd.adopt.after");
    return error;
}

REAL(void, lifecycle_take_over, const struct inventory_entry *entry)
{
    FAILPOINT("sandboxd.takeover.before");
    __real_lifecycle_take_over(entry);
    FAILPOINT("sandboxd.takeover.after");
}
