#include "sandboxd/lifecycle.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandboxd/busy.h"
#include "sandboxd/control.h"
#include "sandboxd/image.h"
#include "sandboxd/inventory.h"
#include "sandboxd/io.h"
#include "sandboxd/loop.h"

static const struct lifecycle_config *config;
static uint32_t builders;
static uint32_t waiting;

void lifecycle_init(const struct lifecycle_config *new_config)
{
    config = new_config;
}

static bool answer(struct sandbox *s, struct sandbox_asker *asker, uint32_t op,
                   const struct sd_err *err, const struct cgroup_usage *usage)
{
    bool sent = false;
    struct sd_reply reply = {.version = SD_WIRE_VERSION, .op = op, .serial = asker->serial};
    int fds[SD_FD_COUNT] = {[SD_FD_CONTROL] = s->control, [SD_FD_PIDFD] = s->pidfd};
    memcpy(reply.sandbox, s->id, SD_ID_SIZE);
    if (err != NULL && err->code < 0) {
        reply.error = err->code;
        memcpy(reply.step, err->step, sizeof(reply.step));
        memcpy(reply.detail, err->detail, sizeof(reply.detail));
    }
    if (usage != NULL) {
        reply.cpu_usec = usage->cpu_usec;
        reply.memory_peak_bytes = usage->memory_peak_bytes;
        reply.oom_kills = usage->oom_kills;
    }
    if (asker->connection != 0) {
        bool with_fds = op == SD_CREATE && reply.error == 0;
        sent = config->answer(asker, &reply, fds, with_fds ? SD_FD_COUNT : 0);
    }
    if (op == SD_CREATE) {
        io_close(&s->control);
    }
    *asker = (struct sandbox_asker){0};
    return sent;
}

static int begin_build(struct sandbox *s, struct sd_err *err)
{
    uint32_t slot = sandbox_slot(s);
    char image[PATH_MAX];
    struct jail_spec spec = {
        .policy = config->policy,
        .limits = s->limits,
        .base = config->policy->uid_base + slot * POLICY_UIDS_PER_SANDBOX,
        .image_root = image,
        .stage = config->stage,
        .init_image = config->init_image,
        .seccomp_filter = config->seccomp_filter,
    };
    memcpy(spec.id, s->id, SD_ID_SIZE);
    int error = image_get(s->template_digest, image, err);
    if (error < 0) {
        sd_err_step(err, "image");
        return error;
    }
    error = inventory_put(s->id, slot, 0, err);
    if (error == 0) {
        error = work_build(&spec, &s->work, err);
    }
    if (error == 0) {
        error = loop_add(s->work.socket, LOOP_WORK, slot, err);
    }
    sd_err_step(err, error < 0 ? "builder" : "");
    return error;
}

static void start_removal(struct sandbox *s)
{
    struct sd_err err = {0};
    if (s->pidfd >= 0) {
        loop_remove(s->pidfd);
    }
    int error = work_teardown(s->id, s->pidfd, &s->work, &err);
    if (error == 0) {
        error = loop_add(s->work.socket, LOOP_WORK, sandbox_slot(s), &err);
    }
    if (error == 0) {
        s->state = SANDBOX_ENDING;
        return;
    }
    /* No process or memory to remove it with: it stays, and may be killed again. */
    io_close(&s->work.socket);
    sd_err_step(&err, "remover");
    s->state = SANDBOX_DEAD;
    (void)answer(s, &s->creator, SD_CREATE, &s->failure, NULL);
    (void)answer(s, &s->killer, SD_KILL, &err, NULL);
}

/* Before anybody is told that nothing is left. */
static void erase_notes(const struct sandbox *s)
{
    control_remove(s->id);
    inventory_remove(s->id);
}

/* With or without a builder, which would go on unseen. */
static void give_up_build(struct sandbox *s, const struct sd_err *err)
{
    bool begun = s->work.pid > 0;
    s->failure = *err;
    if (begun) {
        (void)kill(s->work.pid, SIGKILL);
        (void)waitpid(s->work.pid, NULL, 0);
        io_close(&s->work.socket);
        start_removal(s);
        return;
    }
    erase_notes(s);
    (void)answer(s, &s->creator, SD_CREATE, &s->failure, NULL);
    sandbox_remove(s);
}

static void start_builder(struct sandbox *s)
{
    struct sd_err err = {0};
    waiting--;
    if (begin_build(s, &err) < 0) {
        give_up_build(s, &err);
        return;
    }
    s->state = SANDBOX_BUILDING;
    s->deadline_ms = loop_now_ms() + config->policy->build_deadline_ms;
    builders++;
}

void lifecycle_create(struct sandbox *s)
{
    waiting++;
    if (builders < config->policy->max_builders) {
        start_builder(s);
    }
}

static void start_waiting(void)
{
    for (uint32_t i = 0; waiting > 0 && i < sandbox_limit(); i++) {
        if (builders >= config->policy->max_builders) {
            return;
        }
        if (sandbox_at(i)->state == SANDBOX_WAITING) {
            start_builder(sandbox_at(i));
        }
    }
}

/*
 * Its end comes through lifecycle_on_work. The jail's first process has a copy of the socket on
 * which the end is seen, and may be what hangs: it must go with the builder, whose groups it is in.
 */
static void stop_builder(const struct sandbox *s)
{
    (void)kill(s->work.pid, SIGKILL);
    (void)cgroup_kill(s->id);
}

void lifecycle_kill(struct sandbox *s)
{
    switch (s->state) {
    case SANDBOX_WAITING:
        waiting--;
        sd_err_step(&s->failure, "killed");
        (void)sd_err_set(&s->failure, ECANCELED, "killed before it was built");
        (void)answer(s, &s->creator, SD_CREATE, &s->failure, NULL);
        (void)answer(s, &s->killer, SD_KILL, NULL, NULL);
        sandbox_remove(s);
        return;
    case SANDBOX_BUILDING:
        s->unwanted = true;
        stop_builder(s);
        return;
    default:
        start_removal(s);
    }
}

static void on_built(struct sandbox *s)
{
    struct work_result result;
    struct jail jail;
    struct sd_err err = {0};
    builders--;
    work_finish(&s->work, &result, &jail);
    s->pid = jail.pid;
    s->pidfd = jail.pidfd;
    s->control = jail.control;
    if (s->unwanted) {
        result.err = (struct sd_err){.step = "killed"};
        (void)sd_err_set(&result.err, ECANCELED, "killed while it was built");
    } else if (s->failure.code < 0) {
        result.err = s->failure;
    }
    if (result.err.code == 0 && (inventory_put(s->id, sandbox_slot(s), s->pid, &err) < 0 ||
                                 loop_add(s->pidfd, LOOP_INIT, sandbox_slot(s), &err) < 0)) {
        sd_err_step(&err, "inventory");
        result.err = err;
    }
    if (result.err.code < 0) {
        s->failure = result.err;
        start_removal(s);
        return;
    }
    s->state = SANDBOX_RUNNING;
    if (!answer(s, &s->creator, SD_CREATE, NULL, NULL)) {
        /* Whoever asked has gone. Nobody has it, and whoever comes may have looked already. */
        start_removal(s);
    }
}

static void on_removed(struct sandbox *s)
{
    struct work_result result;
    struct jail none;
    work_finish(&s->work, &result, &none);
    bool removed = result.err.code == 0;
    if (removed) {
        erase_notes(s);
    }
    (void)answer(s, &s->creator, SD_CREATE, &s->failure, NULL);
    (void)answer(s, &s->killer, SD_KILL, &result.err, &result.usage);
    if (removed) {
        sandbox_remove(s);
    } else {
        s->state = SANDBOX_DEAD;
    }
}

static void watch_init(struct sandbox *s, pid_t pid)
{
    struct sd_err err = {0};
    s->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (s->pidfd >= 0 && loop_add(s->pidfd, LOOP_INIT, sandbox_slot(s), &err) == 0) {
        s->pid = pid;
        s->state = cgroup_is_frozen(s->id) ? SANDBOX_FROZEN : SANDBOX_RUNNING;
        busy_take_over(s);
    }
}

void lifecycle_take_over(const struct inventory_entry *entry)
{
    struct sandbox *s = sandbox_restore(config->policy, entry->id, entry->slot);
    if (s == NULL) {
        return;
    }
    if (entry->alive) {
        watch_init(s, entry->pid);
    } else if (entry->pid == 0) {
        start_removal(s);
    }
}

void lifecycle_on_work(uint32_t slot)
{
    struct sandbox *s = sandbox_at(slot);
    if (s->work.socket < 0) {
        return;
    }
    loop_remove(s->work.socket);
    if (s->state == SANDBOX_BUILDING) {
        on_built(s);
    } else if (s->state == SANDBOX_ENDING) {
        on_removed(s);
    }
    start_waiting();
}

void lifecycle_on_init_end(uint32_t slot)
{
    struct sandbox *s = sandbox_at(slot);
    if (s->state == SANDBOX_RUNNING || s->state == SANDBOX_FROZEN) {
        loop_remove(s->pidfd);
        s->state = SANDBOX_DEAD;
    }
}

int lifecycle_check_deadlines(void)
{
    if (builders == 0) {
        return -1;
    }
    int64_t now = loop_now_ms();
    for (uint32_t i = 0; i < sandbox_limit(); i++) {
        struct sandbox *s = sandbox_at(i);
        if (s->state == SANDBOX_BUILDING && s->deadline_ms <= now) {
            sd_err_step(&s->failure, "builder");
            (void)sd_err_set(&s->failure, ETIMEDOUT, "not built in time");
            stop_builder(s);
        }
    }
    return (int)config->policy->build_deadline_ms;
}
