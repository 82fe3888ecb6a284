/*
 * Feeds sequences of messages, with descriptors, to nest-init's table of requests, and lets
 * commands start, fail and end in between. The real table, commands and socket; processes, workers
 * and the server's end are played here.
 *
 * The input is a sequence of steps: a byte from 0x80 on is an event, see play(); another one says
 * how many descriptors come with a message, whose length is in the next two bytes. With 0x40 in it,
 * these are the beginning of a message that is as long as its op has it, and zero from there on.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "sandboxd/init/command.h"
#include "sandboxd/init/exec.h"
#include "sandboxd/init/request.h"
#include "sandboxd/init/spawn.h"
#include "sandboxd/init/start.h"
#include "sandboxd/init/terminal.h"
#include "sandboxd/init/worker.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_FDS 3
#define MAX_PLAYED 64
#define MAX_STEPS 512
#define FIRST_PID 2
#define FIRST_RELAY (FIRST_PID + MAX_PLAYED)
#define PIPE_BYTES 4096
#define MAX_MESSAGE 16384

static int server = -1; /* the other end of NEST_FD_CONTROL */
static int first_free;
static uint32_t inputs; /* so far */
static bool deaf;       /* the server does not read */
static bool asked;      /* a request is under way; events are told without one */
static unsigned int answers;
static uint64_t exited[NEST_MAX_COMMANDS]; /* ids that the server was told of at last */
static unsigned int exited_count;

/* Processes that were "started": pid = FIRST_PID + index, that of a relay FIRST_RELAY + index. */
static struct played {
    int status_end; /* -1 = has told how its exec went */
    bool failed;    /* in that */
    bool alive;
    bool relayed;        /* its relay lives */
    int input;           /* the end that it reads; -1: none */
    int input_ours;      /* number of nest-init's end */
    uint64_t input_read; /* bytes that it has read */
    uint64_t id;         /* as the server was told it; 0: not yet */
} played[MAX_PLAYED];
static unsigned int played_count;

static void check(bool condition)
{
    if (!condition) {
        abort();
    }
}

/* --- what the rest of nest-init would do --- */

void nest_close(int *fd)
{
    if (*fd >= 0) {
        check(close(*fd) == 0);
        *fd = -1;
    }
}

int nest_watch(int fd, uint32_t events, uint64_t number)
{
    (void)events;
    check(fcntl(fd, F_GETFD) >= 0 && number < NEST_MAX_COMMANDS);
    return 0;
}

void nest_unwatch(int fd)
{
    check(fcntl(fd, F_GETFD) >= 0);
}

/* The last one of that id. */
static struct played *find_played(uint64_t id)
{
    for (unsigned int i = played_count; id != 0 && i > 0; i--) {
        if (played[i - 1].id == id) {
            return &played[i - 1];
        }
    }
    return NULL;
}

/* The pipes tell which one has the id. */
static void check_pipes(const struct nest_reply *reply, const int *fds, size_t fd_count)
{
    check(reply->error == 0 ? fd_count == 2 || fd_count == 3 : fd_count == 0);
    for (unsigned int i = 0; fd_count == 3 && i < played_count; i++) {
        if (played[i].alive && played[i].input_ours == fds[2]) {
            played[i].id = reply->command;
        }
    }
}

/* What was taken is what the command has read, and what still lies in the pipe. */
static void check_input(const struct nest_reply *reply)
{
    const struct played *p = find_played(reply->command);
    int waiting = 0;
    if (reply->error == 0 && p != NULL && p->input >= 0) {
        check(ioctl(p->input, FIONREAD, &waiting) == 0);
        check(reply->size_bytes == p->input_read + (uint64_t)waiting);
    }
}

int nest_send(const struct nest_reply *reply, const int *fds, size_t fd_count)
{
    check(reply->version == NEST_WIRE_VERSION && reply->error <= 0 && fd_count <= NEST_REPLY_FDS);
    for (size_t i = 0; i < fd_count; i++) {
        check(fcntl(fds[i], F_GETFD) >= 0);
    }
    if (reply->op == NEST_INPUT) {
        check_input(reply);
    } else if (reply->op == NEST_SPAWN || reply->op == NEST_ATTACH) {
        check_pipes(reply, fds, fd_count);
    } else {
        check(fd_count == 0);
    }
    if (deaf) {
        return -EAGAIN;
    }
    answers += asked && reply->op != NEST_EXITED;
    if (reply->op == NEST_EXITED) {
        exited[exited_count++ % NEST_MAX_COMMANDS] = reply->command;
    }
    return 0;
}

int nest_send_error(const struct nest_request *request, int error)
{
    struct nest_reply reply = {.version = NEST_WIRE_VERSION,
                               .op = request->op,
                               .serial = request->serial,
                               .command = request->command,
                               .error = error};
    return nest_send(&reply, NULL, 0);
}

void worker_start(struct nest_message *message)
{
    check(message->request.op >= NEST_READ && message->request.op <= NEST_CONNECT);
    answers++;
}

int spawn_prepare(void)
{
    return 0;
}

int spawn_command(const struct nest_spawn *spawn, int blob, struct spawn_result *ret_result)
{
    int status[2];
    int input[2];
    struct stat st;
    bool terminal = (spawn->flags & NEST_TERMINAL) != 0;
    check(fstat(blob, &st) == 0);
    if (spawn->user == 0 || played_count == MAX_PLAYED) {
        return -EINVAL;
    }
    check(pipe2(status, O_CLOEXEC | O_NONBLOCK) == 0);
    check(pipe2(input, O_CLOEXEC | O_NONBLOCK) == 0);
    check(fcntl(input[1], F_SETPIPE_SZ, PIPE_BYTES) == PIPE_BYTES);
    played[played_count] = (struct played){.status_end = status[1],
                                           .alive = true,
                                           .relayed = terminal,
                                           .input = input[0],
                                           .input_ours = input[1]};
    *ret_result = (struct spawn_result){.pid = (pid_t)played_count + FIRST_PID,
                                        .status = status[0],
                                        .group = played_count,
                                        .relay = terminal ? (pid_t)played_count + FIRST_RELAY : 0,
                                        .terminal = terminal ? dup(server) : -1,
                                        .pipes = {input[1]}};
    played_count++;
    /* Of kinds that nothing is read from; an empty group. */
    ret_result->cgroup = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 1; i < 3; i++) {
        ret_result->pipes[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
    }
    return 0;
}

int terminal_resize(int ours, uint16_t rows, uint16_t columns)
{
    (void)rows;
    (void)columns;
    check(fcntl(ours, F_GETFD) >= 0);
    return 0;
}

void spawn_remove_group(uint64_t number)
{
    check(number < played_count);
}

/* --- the steps --- */

static void tell_exec(struct played *p, int error)
{
    struct exec_failure failure = {.error = error, .step = NEST_STEP_EXEC};
    if (p->status_end < 0) {
        return;
    }
    p->failed = error < 0;
    if (error < 0) {
        check(write(p->status_end, &failure, sizeof(failure)) == (ssize_t)sizeof(failure));
    }
    nest_close(&p->status_end);
    for (uint64_t i = 0; i < MAX_PLAYED; i++) {
        command_on_event(i); /* those that do not wait read nothing */
    }
}

static void end_relay(unsigned int i)
{
    struct rusage usage = {0};
    if (played[i].relayed) {
        played[i].relayed = false;
        check(command_on_reaped((pid_t)i + FIRST_RELAY, 0, &usage) == 1);
    }
}

static void end_process(unsigned int i)
{
    struct rusage usage = {0};
    if (played[i].alive) {
        unsigned int before = exited_count;
        played[i].alive = false;
        nest_close(&played[i].status_end);
        nest_close(&played[i].input);
        check(command_on_reaped((pid_t)i + FIRST_PID, 9, &usage) == 1);
        check(!played[i].relayed || exited_count == before);
        end_relay(i);
        command_finish_ending();
        check(exited_count - before == (deaf || played[i].failed ? 0 : 1));
    }
}

/* Or closes it, if there is nothing; its relay ends with that. */
static void read_input(unsigned int i)
{
    char buffer[PIPE_BYTES];
    struct played *p = &played[i];
    ssize_t got = p->input < 0 ? 0 : read(p->input, buffer, sizeof(buffer) / 4);
    if (got > 0) {
        p->input_read += (uint64_t)got;
        return;
    }
    nest_close(&p->input);
    end_relay(i);
}

static void play(uint8_t event)
{
    unsigned int which = event & 0xf;
    if (event >= 0xf0) {
        deaf = false;
        (void)command_flush();
    } else if (event >= 0xe8) {
        deaf = false;
        command_forget_peer();
        command_tell_again();
    } else if (event >= 0xe0) {
        deaf = true;
    } else if (event >= 0xd0) {
        command_idle();
    } else if (event >= 0xc0) {
        command_on_event(event & 0xf);
    } else if (which >= played_count) {
        return;
    } else if (event >= 0xb0) {
        read_input(which);
    } else if (event >= 0xa0) {
        end_process(which);
    } else {
        tell_exec(&played[which], event >= 0x90 ? -ENOENT : 0);
    }
}

static void send_with_fds(const uint8_t *data, size_t size, size_t fd_count)
{
    union {
        char buffer[CMSG_SPACE(sizeof(int) * MAX_FDS)];
        struct cmsghdr align;
    } control = {0};
    struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = size};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    int fds[MAX_FDS];
    for (size_t i = 0; i < fd_count; i++) {
        fds[i] = server;
    }
    if (fd_count > 0) {
        message.msg_control = control.buffer;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
        memcpy(CMSG_DATA(header), fds, sizeof(int) * fd_count);
    }
    check(sendmsg(server, &message, MSG_NOSIGNAL) == (ssize_t)size);
}

static size_t right_size(uint32_t op, size_t given)
{
    switch (op) {
    case NEST_SPAWN:
        return NEST_REQUEST_SIZE(spawn);
    case NEST_SIGNAL:
        return NEST_REQUEST_SIZE(signo);
    case NEST_INPUT:
        return given > NEST_INPUT_SIZE(0) ? given : NEST_INPUT_SIZE(0);
    case NEST_RESIZE:
        return NEST_REQUEST_SIZE(terminal);
    case NEST_MOVE:
        return NEST_REQUEST_SIZE(move);
    case NEST_CONNECT:
        return NEST_REQUEST_SIZE(port);
    default:
        return op >= NEST_READ && op < NEST_EXITED ? NEST_REQUEST_SIZE(file) : NEST_HEADER_SIZE;
    }
}

/*
 * Makes it as long as it should be, if that is asked for. Tokens are remembered, so that each input
 * has its own. Returns its size.
 */
static size_t complete(const uint8_t *data, size_t length, bool whole,
                       uint8_t ret_message[MAX_MESSAGE])
{
    struct nest_request header = {0};
    length = length < MAX_MESSAGE ? length : MAX_MESSAGE;
    memset(ret_message, 0, MAX_MESSAGE);
    memcpy(ret_message, data, length);
    memcpy(&header, ret_message, NEST_HEADER_SIZE);
    if (header.token != 0) {
        header.token = (header.token & UINT32_MAX) | (uint64_t)inputs << 32;
        memcpy(ret_message, &header, NEST_HEADER_SIZE);
    }
    size_t size = whole ? right_size(header.op, length) : length;
    return size < MAX_MESSAGE ? size : MAX_MESSAGE;
}

/* Returns how many bytes it took. */
static size_t step(const uint8_t *data, size_t size)
{
    static uint8_t message[MAX_MESSAGE];
    if (data[0] >= 0x80 || size < 3) {
        play(data[0] | 0x80);
        return 1;
    }
    size_t length = (size_t)(data[1] | data[2] << 8);
    length = length < size - 3 ? length : size - 3;
    if (length > 0) {
        answers = 0;
        asked = true;
        size_t whole = complete(data + 3, length, (data[0] & 0x40) != 0, message);
        send_with_fds(message, whole, data[0] % (MAX_FDS + 1));
        check(request_handle() == 0);
        asked = false;
        /* A spawn is answered when its exec is known; a hello is followed by the exits. */
        check(answers <= 1);
    }
    return 3 + length;
}

/* Before anybody opens a file, which would get the number of nest-init's socket. */
__attribute__((constructor)) static void begin(void)
{
    int pair[2];
    check(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
    check(dup2(pair[0], NEST_FD_CONTROL) == NEST_FD_CONTROL);
    if (pair[0] != NEST_FD_CONTROL) {
        close(pair[0]);
    }
    server = pair[1];
    (void)signal(SIGPIPE, SIG_IGN);
    command_init();
}

/* All that was started ends and is acknowledged, so that each input begins with an empty table. */
static void finish(void)
{
    deaf = false;
    for (unsigned int i = 0; i < played_count; i++) {
        end_process(i);
    }
    check(command_flush() == 0);
    exited_count = 0;
    command_tell_again();
    check(exited_count <= played_count);
    for (unsigned int i = 0; i < exited_count; i++) {
        struct nest_message ack = {.request = {.op = NEST_ACK, .command = exited[i]}, .fd = -1};
        command_ack(&ack);
    }
    exited_count = 0;
    command_tell_again();
    check(exited_count == 0);
    played_count = 0;
    /* Nothing was left open: the lowest number is free again. */
    int lowest = dup(server);
    check(lowest == first_free);
    close(lowest);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    inputs++;
    first_free = dup(server);
    close(first_free);
    command_tell_again();
    for (int i = 0; i < MAX_STEPS && size > 0; i++) {
        size_t took = step(data, size);
        data += took;
        size -= took;
    }
    finish();
    return 0;
}
