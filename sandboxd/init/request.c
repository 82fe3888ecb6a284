#include "sandboxd/init/request.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

#include "sandboxd/init/command.h"
#include "sandboxd/init/nest.h"
#include "sandboxd/init/start.h"
#include "sandboxd/init/token.h"
#include "sandboxd/init/worker.h"

static void hello(struct nest_message *message)
{
    (void)nest_send_error(&message->request, 0);
    command_tell_again();
}

/* Its size is the one that its own size field says. */
static void input(struct nest_message *message)
{
    const struct nest_request *request = &message->request;
    if (message->size < NEST_INPUT_SIZE(0) ||
        request->input.size != message->size - NEST_INPUT_SIZE(0)) {
        (void)nest_send_error(request, -EPROTO);
        return;
    }
    command_input(message);
}

struct rule {
    size_t size; /* 0: checked by run */
    size_t fds;
    bool change; /* may have a token */
    void (*run)(struct nest_message *message);
};

static const struct rule RULES[NEST_OP_COUNT] = {
    [NEST_HELLO] = {NEST_HEADER_SIZE, 0, false, hello},
    [NEST_SPAWN] = {NEST_REQUEST_SIZE(spawn), 1, false, command_spawn},
    [NEST_SIGNAL] = {NEST_REQUEST_SIZE(signo), 0, true, command_signal},
    [NEST_KILL] = {NEST_HEADER_SIZE, 0, false, command_kill},
    [NEST_ACK] = {NEST_HEADER_SIZE, 0, false, command_ack},
    [NEST_ATTACH] = {NEST_HEADER_SIZE, 0, false, command_attach},
    [NEST_INPUT] = {0, 0, false, input},
    [NEST_RESIZE] = {NEST_REQUEST_SIZE(terminal), 0, false, command_resize},
    [NEST_READ] = {NEST_REQUEST_SIZE(file), 0, false, worker_start},
    [NEST_WRITE] = {NEST_REQUEST_SIZE(file), 1, false, worker_start},
    [NEST_LIST] = {NEST_REQUEST_SIZE(file), 1, false, worker_start},
    [NEST_GLOB] = {NEST_REQUEST_SIZE(file), 1, false, worker_start},
    [NEST_STAT] = {NEST_REQUEST_SIZE(file), 1, false, worker_start},
    [NEST_MAKE_DIR] = {NEST_REQUEST_SIZE(file), 0, true, worker_start},
    [NEST_MOVE] = {NEST_REQUEST_SIZE(move), 0, true, worker_start},
    [NEST_REMOVE] = {NEST_REQUEST_SIZE(file), 0, true, worker_start},
    [NEST_CONNECT] = {NEST_REQUEST_SIZE(port), 0, false, worker_start},
};

/* Whether it has the size, the descriptors and the token that its op has. */
static bool fits(const struct rule *rule, const struct nest_message *message, size_t fds)
{
    return (rule->size == 0 || rule->size == message->size) && rule->fds == fds &&
           (rule->change || message->request.token == 0);
}

/*
 * Takes the descriptors of a message, which the kernel gathers under one header; all but the last
 * are closed. Returns how many there were.
 */
static size_t take_fds(struct msghdr *message, int *ret_fd)
{
    const struct cmsghdr *header = CMSG_FIRSTHDR(message);
    if (header == NULL || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) {
        return 0;
    }
    size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; i++) {
        nest_close(ret_fd);
        memcpy(ret_fd, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
    }
    return count;
}

int request_handle(void)
{
    static struct nest_message message;
    union {
        char buffer[CMSG_SPACE(sizeof(int) * (NEST_REQUEST_FDS + 1))];
        struct cmsghdr align;
    } control;
    struct iovec iov = {.iov_base = message.bytes, .iov_len = sizeof(message.bytes)};
    struct msghdr header = {.msg_iov = &iov,
                            .msg_iovlen = 1,
                            .msg_control = control.buffer,
                            .msg_controllen = sizeof(control.buffer)};
    ssize_t size = recvmsg(NEST_FD_CONTROL, &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (size < 0) {
        return 0;
    }
    message.fd = -1;
    message.size = (size_t)size;
    size_t fds = take_fds(&header, &message.fd);
    if (size == 0) {
        nest_close(&message.fd);
        return -ECONNRESET;
    }
    const struct nest_request *request = &message.request;
    if ((size_t)size >= NEST_HEADER_SIZE) {
        bool known =
            request->version == NEST_WIRE_VERSION && request->op > 0 && request->op < NEST_EXITED;
        if (!known || !fits(&RULES[request->op], &message, fds) ||
            (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
            (void)nest_send_error(request, -EPROTO);
        } else if (token_is_done(request->token)) {
            (void)nest_send_error(request, 0);
        } else {
            RULES[request->op].run(&message);
        }
    }
    nest_close(&message.fd);
    return 0;
}
