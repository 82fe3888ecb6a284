#include "sandboxd/init/command.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandboxd/init/exec.h"
#include "sandboxd/init/spawn.h"

enum state {
    FREE,
    STARTING, /* waits for the outcome of exec */
    RUNNING,
    ENDING, /* its first process has ended, what is left was killed */
    EXITED, /* waits to be acknowledged */
};

struct command {
    enum state state;
    bool reply_due; /* the answer to NEST_SPAWN could not be sent yet */
    bool exit_due;  /* nor NEST_EXITED */
    bool reaped;    /* the first process */
    uint64_t id;
    uint64_t serial; /* of NEST_SPAWN */
    uint64_t group;  /* number of its cgroup, never used twice */
    pid_t pid;
    int status; /* see struct spawn_result; -1 once it was read */
    int cgroup;
    int events; /* cgroup.events while ENDING */
    int pipes[3];
    struct exec_failure failure;
    int wait_status;
    uint64_t cpu_usec;
    uint64_t max_rss_bytes;
};

static struct command table[NEST_MAX_COMMANDS];
static size_t used; /* one more than the highest slot in use */
static bool wants_seat = true;

void command_init(void)
{
    for (size_t i = 0; i < NEST_MAX_COMMANDS; i++) {
        table[i].state = FREE;
    }
}

static struct command *find(uint64_t id)
{
    for (size_t i = 0; i < used; i++) {
        if (table[i].state != FREE && table[i].id == id) {
            return &table[i];
        }
    }
    return NULL;
}

static struct command *take_slot(void)
{
    for (size_t i = 0; i < NEST_MAX_COMMANDS; i++) {
        if (table[i].state == FREE) {
            if (i >= used) {
                used = i + 1;
            }
            table[i] =
                (struct command){.status = -1, .cgroup = -1, .events = -1, .pipes = {-1, -1, -1}};
            return &table[i];
        }
    }
    return NULL;
}

static void release(struct command *c)
{
    int *fds[] = {&c->status, &c->cgroup, &c->events, &c->pipes[0], &c->pipes[1], &c->pipes[2]};
    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
        nest_close(fds[i]);
    }
    c->state = FREE;
    while (used > 0 && table[used - 1].state == FREE) {
        used--;
    }
}

static void send_spawn_reply(struct command *c)
{
    struct nest_reply reply = {.version = NEST_WIRE_VERSION,
                               .op = NEST_SPAWN,
                               .serial = c->serial,
                               .command = c->id,
                               .error = c->failure.error,
                               .step = c->failure.step};
    const int fds[] = {c->pipes[1], c->pipes[2], c->pipes[0]};
    c->reply_due = nest_send(&reply, fds, reply.error == 0 ? NEST_REPLY_FDS : 0) == -EAGAIN;
    if (!c->reply_due) {
        /* Input ends when the server closes its end: ours must not keep it open. */
        nest_close(&c->pipes[0]);
    }
}

static void send_exited(struct command *c)
{
    struct nest_reply reply = {.version = NEST_WIRE_VERSION,
                               .op = NEST_EXITED,
                               .command = c->id,
                               .wait_status = c->wait_status,
                               .cpu_usec = c->cpu_usec,
                               .max_rss_bytes = c->max_rss_bytes};
    c->exit_due = nest_send(&reply, NULL, 0) == -EAGAIN;
}

static int read_group(const struct command *c, const char *file, char *buffer, size_t size)
{
    nest_cleanup_fd int fd = openat(c->cgroup, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t length = fd < 0 ? -1 : read(fd, buffer, size - 1);
    if (length < 0) {
        return -errno;
    }
    buffer[length] = '\0';
    return 0;
}

static void kill_group(const struct command *c)
{
    nest_cleanup_fd int fd = openat(c->cgroup, "cgroup.kill", O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    (void)!write(fd, "1", 1);
}

static bool group_is_empty(const struct command *c)
{
    char text[256];
    return read_group(c, "cgroup.events", text, sizeof(text)) < 0 ||
           strstr(text, "populated 0") != NULL;
}

static uint64_t group_cpu(const struct command *c)
{
    char text[1024];
    if (read_group(c, "cpu.stat", text, sizeof(text)) < 0) {
        return 0;
    }
    const char *at = strstr(text, "usage_usec ");
    return at == NULL ? 0 : strtoull(at + strlen("usage_usec "), NULL, 10);
}

static void finish(struct command *c)
{
    if (c->events >= 0) {
        nest_unwatch(c->events);
        nest_close(&c->events);
    }
    c->cpu_usec = group_cpu(c);
    nest_close(&c->cgroup);
    spawn_remove_group(c->group);
    if (c->failure.error < 0) {
        /* It never became a command: the reply has said so, and no exit follows. */
        if (!c->reply_due) {
            release(c);
        } else {
            c->state = EXITED;
        }
        return;
    }
    c->state = EXITED;
    send_exited(c);
}

static void end(struct command *c)
{
    c->state = ENDING;
    if (group_is_empty(c)) {
        finish(c);
        return;
    }
    kill_group(c);
    if (group_is_empty(c)) {
        finish(c);
        return;
    }
    /* The last one's end is seen by reaping it, or, should that come too soon, by this. */
    c->events = openat(c->cgroup, "cgroup.events", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (c->events >= 0) {
        (void)nest_watch(c->events, EPOLLPRI, (uint64_t)(c - table));
    }
}

/* Both the outcome of exec and the end of the process must be known: they come in either order. */
static void on_exec_outcome(struct command *c)
{
    ssize_t got = read(c->status, &c->failure, sizeof(c->failure));
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) {
        return;
    }
    if (got != 0 && (got != (ssize_t)sizeof(c->failure) || c->failure.error >= 0)) {
        c->failure = (struct exec_failure){.error = -EIO, .step = NEST_STEP_INIT};
    }
    nest_unwatch(c->status);
    nest_close(&c->status);
    c->state = RUNNING;
    wants_seat = true;
    send_spawn_reply(c);
    if (c->reaped) {
        end(c);
    }
}

void command_on_event(uint64_t number)
{
    if (number >= NEST_MAX_COMMANDS) {
        return;
    }
    struct command *c = &table[number];
    if (c->state == STARTING) {
        on_exec_outcome(c);
    } else if (c->state == ENDING && group_is_empty(c)) {
        finish(c);
    }
}

void command_spawn(struct nest_message *message)
{
    const struct nest_request *request = &message->request;
    struct spawn_result result;
    if (find(request->command) != NULL) {
        (void)nest_send_error(request, -EEXIST);
        return;
    }
    struct command *c = take_slot();
    int error = c == NULL ? -EAGAIN : 0;
    if (error == 0) {
        error = spawn_command(&request->spawn, message->fd, &result);
    }
    if (error < 0) {
        struct nest_reply reply = {.version = NEST_WIRE_VERSION,
                                   .op = NEST_SPAWN,
                                   .serial = request->serial,
                                   .command = request->command,
                                   .error = error,
                                   .step = NEST_STEP_INIT};
        (void)nest_send(&reply, NULL, 0);
        return;
    }
    c->state = STARTING;
    c->id = request->command;
    c->serial = request->serial;
    c->pid = result.pid;
    c->group = result.group;
    c->status = result.status;
    c->cgroup = result.cgroup;
    memcpy(c->pipes, result.pipes, sizeof(c->pipes));
    (void)nest_watch(c->status, EPOLLIN, (uint64_t)(c - table));
}

static void signal_group(const struct command *c, int signo)
{
    nest_cleanup_fd int fd = openat(c->cgroup, "cgroup.procs", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    char text[4096];
    pid_t pid = 0;
    ssize_t got;
    while ((got = read(fd, text, sizeof(text))) > 0) {
        for (ssize_t i = 0; i < got; i++) {
            if (text[i] != '\n') {
                pid = pid * 10 + (text[i] - '0');
                continue;
            }
            if (pid > 1) {
                (void)kill(pid, signo);
            }
            pid = 0;
        }
    }
}

void command_signal(struct nest_message *message)
{
    const struct nest_request *request = &message->request;
    const struct command *c = find(request->command);
    int error = 0;
    if (c == NULL || c->state == EXITED) {
        error = -ESRCH;
    } else if (request->signo < 1 || request->signo > SIGRTMAX) {
        error = -EINVAL;
    } else {
        signal_group(c, request->signo);
    }
    (void)nest_send_error(request, error);
}

void command_kill(struct nest_message *message)
{
    const struct command *c = find(message->request.command);
    bool gone = c == NULL || c->state == EXITED;
    if (!gone) {
        kill_group(c);
    }
    (void)nest_send_error(&message->request, gone ? -ESRCH : 0);
}

void command_ack(struct nest_message *message)
{
    struct command *c = find(message->request.command);
    int error = 0;
    if (c == NULL) {
        error = -ESRCH;
    } else if (c->state != EXITED) {
        error = -EBUSY;
    } else {
        release(c);
    }
    (void)nest_send_error(&message->request, error);
}

int command_on_reaped(pid_t pid, int status, const struct rusage *usage)
{
    for (size_t i = 0; i < used; i++) {
        struct command *c = &table[i];
        if (c->pid != pid || c->reaped || (c->state != STARTING && c->state != RUNNING)) {
            continue;
        }
        c->reaped = true;
        c->wait_status = status;
        c->max_rss_bytes = (uint64_t)usage->ru_maxrss * 1024;
        if (c->state == STARTING) {
            on_exec_outcome(c);
        } else {
            end(c);
        }
        return 1;
    }
    return 0;
}

void command_finish_ending(void)
{
    for (size_t i = 0; i < used; i++) {
        if (table[i].state == ENDING && group_is_empty(&table[i])) {
            finish(&table[i]);
        }
    }
}

void command_tell_again(void)
{
    for (size_t i = 0; i < used; i++) {
        if (table[i].state == EXITED && table[i].failure.error == 0) {
            send_exited(&table[i]);
        }
    }
}

int command_flush(void)
{
    int due = 0;
    for (size_t i = 0; i < used; i++) {
        struct command *c = &table[i];
        if (c->state == FREE) {
            continue;
        }
        if (c->reply_due) {
            send_spawn_reply(c);
            if (!c->reply_due && c->state == EXITED && c->failure.error < 0) {
                release(c);
                continue;
            }
        }
        if (c->exit_due) {
            send_exited(c);
        }
        due |= c->reply_due || c->exit_due;
    }
    return due;
}

void command_idle(void)
{
    /* One try: where there is no room now, the next command will see for itself. */
    if (wants_seat) {
        wants_seat = false;
        (void)spawn_prepare();
    }
}
