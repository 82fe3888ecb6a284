#include "sandboxd/init/worker.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandboxd/init/change.h"
#include "sandboxd/init/connect.h"
#include "sandboxd/init/files.h"
#include "sandboxd/init/glob.h"
#include "sandboxd/init/landlock.h"
#include "sandboxd/init/start.h"
#include "sandboxd/init/token.h"

/* A pipe whose other end does not move, or a directory without end, holds a worker so long. */
#define DEADLINE_S 60

struct worker {
    pid_t pid; /* 0 = free */
    uint32_t op;
    uint64_t serial;
    uint64_t token;
};

/* Bits of a worker's exit status. */
enum outcome { NOT_ANSWERED = 1, NOT_DONE = 2 };

static struct worker table[NEST_MAX_WORKERS];

static int drop_rights(void)
{
    setfsgid(NEST_USER_ID);
    setfsuid(NEST_USER_ID);
    int error = nest_drop_capabilities();
    return error < 0 ? error : landlock_confine();
}

/*
 * Keeps the control socket and what came with the request. Of all else nest-init holds the last
 * copies, such as the ends of commands' input, which must end when nest-init closes them.
 */
static int keep_fds(struct nest_message *m)
{
    const int kept = NEST_FD_CONTROL + 1;
    if (m->fd >= 0 && m->fd != kept) {
        if (dup2(m->fd, kept) < 0) {
            return -errno;
        }
        m->fd = kept;
    }
    return syscall(SYS_close_range, m->fd >= 0 ? kept + 1 : kept, ~0U, 0) < 0 ? -errno : 0;
}

static int operate(struct nest_message *m, struct nest_reply *reply, int *ret_fd)
{
    switch (m->request.op) {
    case NEST_READ:
        return files_read(&m->request.file, &reply->size_bytes, ret_fd);
    case NEST_WRITE:
        return files_write(&m->request.file, m->fd, &reply->size_bytes);
    case NEST_LIST:
        return files_list(&m->request.file, m->fd, &reply->size_bytes);
    case NEST_GLOB:
        return glob_write(&m->request.file, m->fd, &reply->size_bytes);
    case NEST_STAT:
        return files_stat(&m->request.file, m->fd);
    case NEST_MAKE_DIR:
        return change_make_dir(&m->request.file);
    case NEST_MOVE:
        return change_move(&m->request.move);
    case NEST_REMOVE:
        return change_remove(&m->request.file);
    case NEST_CONNECT:
        return connect_port(m->request.port, ret_fd);
    default:
        return -EPROTO;
    }
}

static _Noreturn void worker_main(struct nest_message *m)
{
    struct nest_reply reply = {.version = NEST_WIRE_VERSION,
                               .op = m->request.op,
                               .serial = m->request.serial,
                               .command = m->request.command};
    int fd = -1;
    sigset_t none;
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    reply.error = files_set_deadline(DEADLINE_S);
    if (reply.error == 0) {
        reply.error = drop_rights();
    }
    if (reply.error == 0) {
        reply.error = keep_fds(m);
    }
    if (reply.error == 0) {
        reply.error = operate(m, &reply, &fd);
    }
    int sent = nest_send_waiting(&reply, &fd, fd >= 0 ? 1 : 0);
    _exit((sent < 0 ? NOT_ANSWERED : 0) | (reply.error < 0 ? NOT_DONE : 0));
}

void worker_start(struct nest_message *message)
{
    const struct nest_request *request = &message->request;
    struct worker *free_slot = NULL;
    bool under_way = false;
    for (size_t i = 0; i < NEST_MAX_WORKERS; i++) {
        if (table[i].pid == 0) {
            free_slot = &table[i];
        } else if (request->token != 0 && table[i].token == request->token) {
            under_way = true;
        }
    }
    if (free_slot == NULL || under_way) {
        (void)nest_send_error(&message->request, -EBUSY);
        return;
    }
    pid_t pid = fork();
    if (pid == 0) {
        worker_main(message);
    }
    if (pid < 0) {
        (void)nest_send_error(&message->request, -errno);
        return;
    }
    *free_slot = (struct worker){
        .pid = pid, .op = request->op, .serial = request->serial, .token = request->token};
}

bool worker_is(pid_t pid)
{
    for (size_t i = 0; i < NEST_MAX_WORKERS; i++) {
        if (table[i].pid == pid) {
            return true;
        }
    }
    return false;
}

void worker_on_reaped(pid_t pid, int status)
{
    for (size_t i = 0; i < NEST_MAX_WORKERS; i++) {
        struct worker *w = &table[i];
        if (w->pid != pid) {
            continue;
        }
        int outcome = WIFEXITED(status) ? WEXITSTATUS(status) : NOT_ANSWERED | NOT_DONE;
        if ((outcome & NOT_DONE) == 0) {
            token_done(w->token);
        }
        if ((outcome & NOT_ANSWERED) != 0) {
            struct nest_request request = {.op = w->op, .serial = w->serial};
            bool late = WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM;
            (void)nest_send_error(&request, late ? -ETIMEDOUT : -EIO);
        }
        *w = (struct worker){0};
        return;
    }
}
