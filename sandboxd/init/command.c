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
#include "sandboxd/init/terminal.h"
#include "sandboxd/init/token.h"

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
    uint32_t op;     /* of the request that waits for the outcome of exec … */
    uint64_t serial; /* … 0: none does */
    uint64_t group;  /* number of its cgroup, never used twice */
    pid_t pid;
    pid_t relay;  /* 0: none, or it has ended */
    int terminal; /* see terminal.h */
    int status;   /* see struct spawn_result; -1 once it was read */
    int cgroup;
    int events; /* cgroup.events while ENDING */
    int pipes[3];
    uint64_t input_bytes; /* taken so far */
    struct exec_failure failure;
    int wait_status;
    uint32_t oom_kills;
    uint64_t cpu_usec;
    uint64_t memory_peak_bytes;
    uint64_t max_rss_bytes;
};

static struct command table[NEST_MAX_COMMANDS];
static size_t used; /* one more than the highest slot in use */
static bool wants_seat = true;
static bool greeted; /* the peer hears of exits */

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
            table[i] = (struct command){
                .terminal = -1, .status = -1, .cgroup = -1, .events = -1, .pipes = {-1, -1, -1}};
            return &table[i];
        }
    }
    return NULL;
}

static void release(struct command *c)
{
    int *fds[] = {&c->terminal, &c->status,   &c->cgroup,  &c->events,
                  &c->pipes[0], &c->pipes[1], &c->pipes[2]};
    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
        nest_close(fds[i]);
    }
    c->state = FREE;
    while (used > 0 && table[used - 1].state == FREE) {
        used--;
    }
}

/* The answer to NEST_SPAWN and NEST_ATTACH, once the outcome of exec is known. */
static void send_pipes(struct command *c)
{
    struct nest_reply reply = {.version = NEST_WIRE_VERSION,
                               .op = c->op,
                               .serial = c->serial,
                               .command = c->id,
                               .error = c->failure.error,
                               .step = c->failure.step,
                               .size_bytes = c->input_bytes};
    const int fds[] = {c->pipes[1], c->pipes[2], c->pipes[0]};
    size_t count = reply.error < 0 ? 0 : c->pipes[0] < 0 ? 2 : 3;
    c->reply_due = c->serial != 0 && nest_send(&reply, fds, count) == -EAGAIN;
}

static void send_exited(struct command *c)
{
    struct nest_reply reply = {.version = NEST_WIRE_VERSION,
                               .op = NEST_EXITED,
                               .command = c->id,
                               .wait_status = c->wait_status,
                               .oom_kills = c->oom_kills,
                               .cpu_usec = c->cpu_usec,
                               .memory_peak_bytes = c->memory_peak_bytes,
                               .max_rss_bytes = c->max_rss_bytes};
    c->exit_due = greeted && nest_send(&reply, NULL, 0) == -EAGAIN;
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

/* The number behind key, 0 where the host does not say. */
static uint64_t group_number(const struct command *c, const char *file, const char *key)
{
    char text[1024];
    if (read_group(c, file, text, sizeof(text)) < 0) {
        return 0;
    }
    const char *at = strstr(text, key);
    return at == NULL ? 0 : strtoull(at + strlen(key), NULL, 10);
}

static void finish(struct command *c)
{
    if (c->events >= 0) {
        nest_unwatch(c->events);
        nest_close(&c->events);
    }
    c->cpu_usec = group_number(c, "cpu.stat", "usage_usec ");
    c->memory_peak_bytes = group_number(c, "memory.peak", "");
    c->oom_kills = (uint32_t)group_number(c, "memory.events", "oom_kill ");
    nest_close(&c->terminal);
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

/* No process is left that could write, and what was written is in the pipes. */
static bool is_over(const struct command *c)
{
    return c->relay == 0 && group_is_empty(c);
}

static void end(struct command *c)
{
    c->state = ENDING;
    if (is_over(c)) {
        finish(c);
        return;
    }
    kill_group(c);
    if (is_over(c)) {
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
    send_pipes(c);
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
    } else if (c->state == ENDING && is_over(c)) {
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
    c->op = NEST_SPAWN;
    c->serial = request->serial;
    c->pid = result.pid;
    c->relay = result.relay;
    c->terminal = result.terminal;
    c->group = result.group;
    c->status = result.status;
    c->cgroup = result.cgroup;
    memcpy(c->pipes, result.pipes, sizeof(c->pipes));
    if ((request->spawn.flags & NEST_KEEP_INPUT) == 0) {
        nest_close(&c->pipes[0]);
    }
    (void)nest_watch(c->status, EPOLLIN, (uint64_t)(c - table));
}

/* NULL with the request answered: there is no such command that has not ended. */
static struct command *find_living(const struct nest_request *request)
{
    struct command *c = find(request->command);
    if (c == NULL || c->state == EXITED) {
        (void)nest_send_error(request, -ESRCH);
        return NULL;
    }
    return c;
}

void command_attach(struct nest_message *message)
{
    const struct nest_request *request = &message->request;
    struct command *c = find(request->command);
    if (c == NULL) {
        (void)nest_send_error(request, -ESRCH);
        return;
    }
    c->op = NEST_ATTACH;
    c->serial = request->serial;
    if (c->state != STARTING) {
        send_pipes(c);
    }
}

/* What is new of it, as far as there is room. Returns 0 or -errno. */
static int take_input(struct command *c, const struct nest_input *input, const uint8_t *data)
{
    uint64_t skipped = c->input_bytes - input->offset;
    if (input->offset > c->input_bytes) {
        return -ERANGE;
    }
    if (skipped < input->size) {
        ssize_t written = c->pipes[0] < 0
                              ? -1
                              : write(c->pipes[0], data + skipped, input->size - (size_t)skipped);
        if (written < 0) {
            return c->pipes[0] >= 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -EPIPE;
        }
        c->input_bytes += (uint64_t)written;
    }
    if (input->close != 0 && c->input_bytes >= input->offset + input->size) {
        nest_close(&c->pipes[0]);
    }
    return 0;
}

void command_input(struct nest_message *message)
{
    const struct nest_request *request = &message->request;
    struct command *c = find_living(request);
    if (c == NULL) {
        return;
    }
    struct nest_reply reply = {
        .version = NEST_WIRE_VERSION,
        .op = NEST_INPUT,
        .serial = request->serial,
        .command = request->command,
        .error = take_input(c, &request->input, message->bytes + NEST_INPUT_SIZE(0)),
        .size_bytes = c->input_bytes};
    (void)nest_send(&reply, NULL, 0);
}

void command_resize(struct nest_message *message)
{
    const struct nest_request *request = &message->request;
    const struct command *c = find_living(request);
    if (c != NULL) {
        int error = c->terminal < 0 ? -ENOTTY
                                    : terminal_resize(c->terminal, request->terminal.rows,
                                                      request->terminal.columns);
        (void)nest_send_error(request, error);
    }
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
    const struct command *c = find_living(request);
    if (c == NULL) {
        return;
    }
    bool known = request->signo >= 1 && request->signo <= SIGRTMAX;
    if (known) {
        signal_group(c, request->signo);
        token_done(request->token);
    }
    (void)nest_send_error(request, known ? 0 : -EINVAL);
}

void command_kill(struct nest_message *message)
{
    const struct command *c = find_living(&message->request);
    if (c != NULL) {
        kill_group(c);
        (void)nest_send_error(&message->request, 0);
    }
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

/*
 * It ends well when the command has closed the terminal, as many programs do just before they exit:
 * to hang up then would kill those. When it was killed nobody can hear the terminal any more.
 */
static void on_relay_end(struct command *c, int status)
{
    c->relay = 0;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        nest_close(&c->terminal);
    }
}

int command_on_reaped(pid_t pid, int status, const struct rusage *usage)
{
    for (size_t i = 0; i < used; i++) {
        struct command *c = &table[i];
        if (c->state != FREE && c->relay == pid) {
            on_relay_end(c, status);
            return 1;
        }
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

bool command_waits_for(pid_t pid)
{
    for (size_t i = 0; i < used; i++) {
        const struct command *c = &table[i];
        if (c->state != FREE && (c->relay == pid || (c->state == STARTING && c->pid == pid))) {
            return true;
        }
    }
    return false;
}

void command_finish_ending(void)
{
    for (size_t i = 0; i < used; i++) {
        if (table[i].state == ENDING && is_over(&table[i])) {
            finish(&table[i]);
        }
    }
}

void command_forget_peer(void)
{
    greeted = false;
    for (size_t i = 0; i < used; i++) {
        struct command *c = &table[i];
        c->serial = 0;
        c->reply_due = false;
        c->exit_due = false;
        if (c->state == EXITED && c->failure.error < 0) {
            release(c);
        }
    }
}

void command_tell_again(void)
{
    greeted = true;
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
            send_pipes(c);
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
