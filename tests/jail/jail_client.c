#include "tests/jail/jail_client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define TEMPLATES_DEFAULT "/var/lib/crownest/templates"

_Noreturn static void die(const char *what)
{
    fprintf(stderr, "jail_client: %s: %s\n", what, strerror(errno));
    abort();
}

static const char *templates(void)
{
    const char *dir = getenv("CROWNEST_TEST_TEMPLATES");
    return dir != NULL ? dir : TEMPLATES_DEFAULT;
}

static const char *binary(void)
{
    const char *path = getenv("CROWNEST_TEST_SANDBOXD");
    return path != NULL ? path : "sandboxd/sandboxd";
}

static bool read_digest(uint8_t ret_digest[SD_DIGEST_SIZE])
{
    char path[4096];
    char target[256];
    (void)snprintf(path, sizeof(path), "%s/base", templates());
    ssize_t length = readlink(path, target, sizeof(target) - 1);
    if (length < SD_DIGEST_SIZE * 2) {
        return false;
    }
    target[length] = '\0';
    const char *name = strrchr(target, '/') == NULL ? target : strrchr(target, '/') + 1;
    for (size_t i = 0; i < SD_DIGEST_SIZE; i++) {
        unsigned int byte;
        if (sscanf(name + i * 2, "%2x", &byte) != 1) {
            return false;
        }
        ret_digest[i] = (uint8_t)byte;
    }
    return true;
}

const char *jail_missing(void)
{
    uint8_t digest[SD_DIGEST_SIZE];
    if (geteuid() != 0) {
        return "root (CAP_SYS_ADMIN in the initial user namespace)";
    }
    if (access("/sys/fs/cgroup", W_OK) < 0) {
        return "a writable /sys/fs/cgroup";
    }
    return read_digest(digest) ? NULL : "the template base (CROWNEST_TEST_TEMPLATES)";
}

int jail_slowness(void)
{
    const char *slowness = getenv("CROWNEST_TEST_SLOWNESS");
    return slowness != NULL && atoi(slowness) > 0 ? atoi(slowness) : 1;
}

static void wait_readable(int fd)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    errno = 0;
    if (poll(&wait, 1, JAIL_TIMEOUT_MS * jail_slowness()) != 1) {
        die("nothing came in time");
    }
}

int jail_connect(const struct jail_daemon *daemon)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", daemon->socket_path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        die("connect");
    }
    return fd;
}

static void exec_daemon(const struct jail_daemon *daemon, int ready)
{
    char run[96];
    char number[16];
    (void)snprintf(run, sizeof(run), "%s/run", daemon->dir);
    (void)snprintf(number, sizeof(number), "%d", ready);
    /* A test that aborts must not leave sandboxes behind. */
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    execl(binary(), "sandboxd", "--socket", daemon->socket_path, "--run-dir", run, "--templates",
          templates(), "--client-uid", "0", "--ready-fd", number, "--kill-on-exit",
          daemon->volume != NULL ? "--volume" : NULL, daemon->volume, (char *)NULL);
    die(binary());
}

static void launch(struct jail_daemon *daemon)
{
    int ready[2];
    char said[8] = {0};
    if (pipe(ready) < 0) {
        die("pipe");
    }
    daemon->pid = fork();
    if (daemon->pid == 0) {
        close(ready[0]);
        exec_daemon(daemon, ready[1]);
    }
    close(ready[1]);
    wait_readable(ready[0]);
    if (read(ready[0], said, sizeof(said)) != 6 || strcmp(said, "READY\n") != 0) {
        die("sandboxd is not ready");
    }
    close(ready[0]);
    daemon->socket = jail_connect(daemon);
    struct sd_request hello = jail_request(daemon, SD_HELLO, NULL);
    if (jail_ask(daemon, &hello, NULL).error != 0) {
        die("hello");
    }
}

void jail_start_on(struct jail_daemon *daemon, const char *volume)
{
    *daemon = (struct jail_daemon){.socket = -1, .volume = volume};
    (void)snprintf(daemon->dir, sizeof(daemon->dir), "/run/crownest-test-XXXXXX");
    if (mkdtemp(daemon->dir) == NULL || !read_digest(daemon->digest)) {
        die("set up");
    }
    (void)snprintf(daemon->socket_path, sizeof(daemon->socket_path), "%s/socket", daemon->dir);
    launch(daemon);
}

void jail_start(struct jail_daemon *daemon)
{
    jail_start_on(daemon, getenv("CROWNEST_TEST_VOLUME"));
}

void jail_crash(struct jail_daemon *daemon)
{
    close(daemon->socket);
    if (kill(daemon->pid, SIGKILL) < 0 || waitpid(daemon->pid, NULL, 0) != daemon->pid) {
        die("kill sandboxd");
    }
}

void jail_relaunch(struct jail_daemon *daemon)
{
    launch(daemon);
}

void jail_restart(struct jail_daemon *daemon)
{
    jail_crash(daemon);
    launch(daemon);
}

/* What a stopped sandboxd leaves: directories, which the test checks by removing them. */
static void remove_directories(const struct jail_daemon *daemon)
{
    static const char *const EMPTY[] = {"run/stage/lower", "run/stage/upper", "run/stage/root",
                                        "run/stage",       "run/control",     "run/inventory"};
    char path[512];
    for (size_t i = 0; i < sizeof(EMPTY) / sizeof(EMPTY[0]); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", daemon->dir, EMPTY[i]);
        if (rmdir(path) < 0) {
            die(path);
        }
    }
    (void)snprintf(path, sizeof(path), "%s/run/images/", daemon->dir);
    size_t length = strlen(path);
    for (size_t i = 0; i < SD_DIGEST_SIZE; i++) {
        (void)snprintf(path + length + i * 2, 3, "%02x", daemon->digest[i]);
    }
    (void)rmdir(path);
    path[length] = '\0';
    if (rmdir(path) < 0) {
        die(path);
    }
    (void)snprintf(path, sizeof(path), "%s/run", daemon->dir);
    if (rmdir(path) < 0 || rmdir(daemon->dir) < 0) {
        die(path);
    }
}

void jail_stop(struct jail_daemon *daemon)
{
    int status;
    close(daemon->socket);
    if (kill(daemon->pid, SIGTERM) < 0 || waitpid(daemon->pid, &status, 0) != daemon->pid ||
        status != 0) {
        die("sandboxd did not end well");
    }
    remove_directories(daemon);
}

struct sd_request jail_request(struct jail_daemon *daemon, uint32_t op, const char *id)
{
    struct sd_request request = {.version = SD_WIRE_VERSION, .op = op};
    request.serial = ++daemon->serial;
    if (id != NULL) {
        memcpy(request.sandbox, id, SD_ID_SIZE);
    }
    return request;
}

void jail_send(int socket, const struct sd_request *request)
{
    if (send(socket, request, sizeof(*request), MSG_NOSIGNAL) != (ssize_t)sizeof(*request)) {
        die("send");
    }
}

/* Returns the size; descriptors beyond max are a failure. */
static ssize_t receive(int socket, void *data, size_t size, int *ret_fds, size_t max,
                       size_t *ret_count)
{
    union {
        char buffer[CMSG_SPACE(sizeof(int) * 8)];
        struct cmsghdr align;
    } control;
    struct iovec iov = {.iov_base = data, .iov_len = size};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.buffer,
                             .msg_controllen = sizeof(control.buffer)};
    wait_readable(socket);
    ssize_t got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    const struct cmsghdr *header = got < 0 ? NULL : CMSG_FIRSTHDR(&message);
    size_t count = header == NULL ? 0 : (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    if (count > max) {
        die("more descriptors than announced");
    }
    for (size_t i = 0; i < max; i++) {
        ret_fds[i] = -1;
    }
    if (count > 0) {
        memcpy(ret_fds, CMSG_DATA(header), count * sizeof(int));
    }
    *ret_count = count;
    return got;
}

bool jail_receive(int socket, struct sd_reply *ret_reply, int ret_fds[SD_FD_COUNT])
{
    size_t count;
    return receive(socket, ret_reply, sizeof(*ret_reply), ret_fds, SD_FD_COUNT, &count) ==
           (ssize_t)sizeof(*ret_reply);
}

struct sd_reply jail_ask(struct jail_daemon *daemon, const struct sd_request *request,
                         int ret_fds[SD_FD_COUNT])
{
    struct sd_reply reply;
    int fds[SD_FD_COUNT];
    jail_send(daemon->socket, request);
    if (!jail_receive(daemon->socket, &reply, fds) || reply.serial != request->serial) {
        die("reply");
    }
    for (size_t i = 0; i < SD_FD_COUNT; i++) {
        if (ret_fds != NULL) {
            ret_fds[i] = fds[i];
        } else if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
    return reply;
}

void jail_fill_create(struct jail_daemon *daemon, struct sd_request *ret_request)
{
    static const char ALPHABET[] = "0123456789abcdefghjkmnpqrstvwxyz";
    uint8_t random[26];
    char id[SD_ID_SIZE] = "sbx_";
    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random)) {
        die("getrandom");
    }
    for (size_t i = 0; i < sizeof(random); i++) {
        id[4 + i] = ALPHABET[random[i] & 31];
    }
    *ret_request = jail_request(daemon, SD_CREATE, id);
    memcpy(ret_request->template_digest, daemon->digest, SD_DIGEST_SIZE);
    ret_request->limits = (struct sd_limits)JAIL_LIMITS(256, 64, 2000, 128);
}

/* The server never waits to send; tests do. */
static void wait_for_room(int control)
{
    if (fcntl(control, F_SETFL, 0) < 0) {
        die("blocking control socket");
    }
}

static void create(struct jail_daemon *daemon, const struct sd_request *request,
                   struct jail_box *ret_box)
{
    int fds[SD_FD_COUNT];
    struct sd_reply reply = jail_ask(daemon, request, fds);
    if (reply.error != 0) {
        fprintf(stderr, "create: %s: %s\n", reply.step, reply.detail);
        errno = -reply.error;
        die("create");
    }
    *ret_box = (struct jail_box){.control = fds[SD_FD_CONTROL], .pidfd = fds[SD_FD_PIDFD]};
    memcpy(ret_box->id, request->sandbox, SD_ID_SIZE);
    wait_for_room(ret_box->control);
    /* nest-init was started; now it is up. */
    jail_hello(ret_box);
}

void jail_hello(struct jail_box *box)
{
    struct nest_request hello = {.op = NEST_HELLO};
    struct nest_reply up;
    int none[3];
    jail_nest_send(box, &hello, NEST_HEADER_SIZE, -1);
    (void)jail_nest_receive(box, &up, none);
    if (up.op != NEST_HELLO || up.error != 0) {
        die("nest-init's hello");
    }
}

void jail_adopt(struct jail_daemon *daemon, struct jail_box *box)
{
    struct sd_request request = jail_request(daemon, SD_ADOPT, box->id);
    int fds[SD_FD_COUNT];
    struct sd_reply reply = jail_ask(daemon, &request, fds);
    if (reply.error != 0) {
        errno = -reply.error;
        die("adopt");
    }
    close(box->control);
    close(box->pidfd);
    box->control = fds[SD_FD_CONTROL];
    box->pidfd = fds[SD_FD_PIDFD];
    wait_for_room(box->control);
}

void jail_create(struct jail_daemon *daemon, struct jail_box *ret_box)
{
    struct sd_request request;
    jail_fill_create(daemon, &request);
    create(daemon, &request, ret_box);
}

void jail_create_with(struct jail_daemon *daemon, const struct sd_limits *limits,
                      struct jail_box *ret_box)
{
    struct sd_request request;
    jail_fill_create(daemon, &request);
    request.limits = *limits;
    create(daemon, &request, ret_box);
}

struct sd_reply jail_kill(struct jail_daemon *daemon, struct jail_box *box)
{
    struct sd_request request = jail_request(daemon, SD_KILL, box->id);
    struct sd_reply reply = jail_ask(daemon, &request, NULL);
    close(box->control);
    close(box->pidfd);
    return reply;
}

void jail_nest_send(struct jail_box *box, struct nest_request *request, size_t size, int fd)
{
    union {
        char buffer[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct iovec iov = {.iov_base = request, .iov_len = size};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    request->version = NEST_WIRE_VERSION;
    request->serial = ++box->serial;
    if (fd >= 0) {
        message.msg_control = control.buffer;
        message.msg_controllen = sizeof(control.buffer);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &fd, sizeof(int));
    }
    if (sendmsg(box->control, &message, MSG_NOSIGNAL) != (ssize_t)size) {
        die("send to nest-init");
    }
}

size_t jail_nest_receive(struct jail_box *box, struct nest_reply *ret_reply, int ret_fds[3])
{
    size_t count;
    if (receive(box->control, ret_reply, sizeof(*ret_reply), ret_fds, 3, &count) !=
        (ssize_t)sizeof(*ret_reply)) {
        die("nest-init's reply");
    }
    return count;
}

static int make_blob(const char *const argv[], uint32_t *ret_argc, uint32_t *ret_envc,
                     uint32_t *ret_bytes)
{
    static const char *const ENV[] = {"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/home/user", NULL};
    const char *const *const lists[] = {argv, ENV};
    uint32_t *const counts[] = {ret_argc, ret_envc};
    int fd = memfd_create("blob", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    *ret_bytes = 0;
    for (size_t l = 0; l < 2; l++) {
        *counts[l] = 0;
        for (const char *const *s = lists[l]; *s != NULL; s++) {
            size_t length = strlen(*s) + 1;
            if (write(fd, *s, length) != (ssize_t)length) {
                die("blob");
            }
            *ret_bytes += (uint32_t)length;
            (*counts[l])++;
        }
    }
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
        die("seal");
    }
    return fd;
}

struct nest_reply jail_spawn_with(struct jail_box *box, const struct nest_spawn *options,
                                  const char *const argv[], int ret_fds[3])
{
    static struct nest_request request;
    struct nest_reply reply;
    memset(&request, 0, sizeof(request));
    request.op = NEST_SPAWN;
    request.command = ++box->last_command;
    request.spawn = *options;
    size_t pipes = (options->flags & NEST_KEEP_INPUT) != 0 ? 3 : 2;
    int blob = make_blob(argv, &request.spawn.argc, &request.spawn.envc, &request.spawn.blob_bytes);
    jail_nest_send(box, &request, NEST_REQUEST_SIZE(spawn), blob);
    close(blob);
    size_t count = jail_nest_receive(box, &reply, ret_fds);
    if (reply.op != NEST_SPAWN || reply.serial != request.serial ||
        count != (reply.error == 0 ? pipes : 0)) {
        die("reply to spawn");
    }
    return reply;
}

static struct nest_spawn plain_spawn(uint32_t user, uint32_t flags, const char *cwd)
{
    struct nest_spawn options = {.user = user, .flags = flags};
    (void)snprintf(options.cwd, sizeof(options.cwd), "%s", cwd);
    return options;
}

struct nest_reply jail_spawn(struct jail_box *box, uint32_t user, const char *cwd,
                             const char *const argv[], int ret_fds[3])
{
    const struct nest_spawn options = plain_spawn(user, NEST_KEEP_INPUT, cwd);
    return jail_spawn_with(box, &options, argv, ret_fds);
}

struct nest_reply jail_input(struct jail_box *box, uint64_t command, uint64_t offset,
                             const void *data, size_t size, bool close)
{
    static union {
        struct nest_request request;
        char bytes[NEST_INPUT_SIZE(NEST_INPUT_MAX)];
    } message;
    struct nest_request *request = &message.request;
    struct nest_reply reply;
    int none[3];
    memset(&message, 0, sizeof(message));
    request->op = NEST_INPUT;
    request->command = command;
    request->input = (struct nest_input){.offset = offset, .size = (uint32_t)size, .close = close};
    memcpy(message.bytes + NEST_INPUT_SIZE(0), data, size);
    jail_nest_send(box, request, NEST_INPUT_SIZE(size), -1);
    (void)jail_nest_receive(box, &reply, none);
    if (reply.op != NEST_INPUT || reply.serial != request->serial) {
        die("reply to input");
    }
    return reply;
}

void jail_end_input(struct jail_box *box, uint64_t command, int fds[3])
{
    struct nest_reply reply = jail_input(box, command, 0, "", 0, true);
    if (reply.error != 0) {
        die("end of input");
    }
    for (int i = 0; i < 3; i++) {
        close(fds[i]);
    }
}

struct nest_reply jail_attach(struct jail_box *box, uint64_t command, int ret_fds[3])
{
    struct nest_request request = {.op = NEST_ATTACH, .command = command};
    struct nest_reply reply;
    jail_nest_send(box, &request, NEST_HEADER_SIZE, -1);
    (void)jail_nest_receive(box, &reply, ret_fds);
    if (reply.op != NEST_ATTACH || reply.serial != request.serial) {
        die("reply to attach");
    }
    return reply;
}

void jail_ack(struct jail_box *box, uint64_t command)
{
    struct nest_request request = {.op = NEST_ACK, .command = command};
    struct nest_reply reply;
    int fds[3];
    jail_nest_send(box, &request, NEST_HEADER_SIZE, -1);
    (void)jail_nest_receive(box, &reply, fds);
    if (reply.op != NEST_ACK || reply.error != 0) {
        die("acknowledge");
    }
}

void jail_wait(struct jail_box *box, uint64_t command, struct jail_run *run)
{
    struct nest_reply reply;
    int fds[3];
    (void)jail_nest_receive(box, &reply, fds);
    if (reply.op != NEST_EXITED || reply.serial != 0 || reply.command != command) {
        die("exit of a command");
    }
    run->wait_status = reply.wait_status;
    run->cpu_usec = reply.cpu_usec;
    run->max_rss_bytes = reply.max_rss_bytes;
    run->memory_peak_bytes = reply.memory_peak_bytes;
    run->oom_kills = reply.oom_kills;
    jail_ack(box, command);
}

static bool gather(int *fd, short revents, char *buffer, size_t size, size_t *length)
{
    if (revents == 0 || *fd < 0) {
        return *fd >= 0;
    }
    char beyond[4096];
    bool full = *length == size;
    ssize_t got =
        read(*fd, full ? beyond : buffer + *length, full ? sizeof(beyond) : size - *length);
    if (got <= 0) {
        close(*fd);
        *fd = -1;
    } else if (!full) {
        *length += (size_t)got;
    }
    return *fd >= 0;
}

static void gather_output(int out, int err, struct jail_run *run)
{
    struct pollfd fds[2] = {{.fd = out, .events = POLLIN}, {.fd = err, .events = POLLIN}};
    while (fds[0].fd >= 0 || fds[1].fd >= 0) {
        if (poll(fds, 2, JAIL_TIMEOUT_MS * jail_slowness()) <= 0) {
            die("output has no end");
        }
        (void)gather(&fds[0].fd, fds[0].revents, run->out, sizeof(run->out) - 1, &run->out_bytes);
        (void)gather(&fds[1].fd, fds[1].revents, run->err, sizeof(run->err) - 1, &run->err_bytes);
    }
    run->out[run->out_bytes] = '\0';
    run->err[run->err_bytes] = '\0';
}

void jail_run(struct jail_box *box, uint32_t user, const char *cwd, const char *const argv[],
              struct jail_run *ret_run)
{
    int fds[3];
    memset(ret_run, 0, sizeof(*ret_run));
    const struct nest_spawn options = plain_spawn(user, 0, cwd);
    struct nest_reply reply = jail_spawn_with(box, &options, argv, fds);
    ret_run->error = reply.error;
    ret_run->step = reply.step;
    if (reply.error != 0) {
        return;
    }
    gather_output(fds[0], fds[1], ret_run);
    jail_wait(box, reply.command, ret_run);
}

void jail_shell(struct jail_box *box, const char *line, struct jail_run *ret_run)
{
    const char *const argv[] = {"/bin/sh", "-c", line, NULL};
    jail_run(box, NEST_USER, "/workspace", argv, ret_run);
}

struct nest_reply jail_file(struct jail_box *box, uint32_t op, const char *path, uint32_t flags,
                            int fd, int *ret_fd)
{
    static struct nest_request request;
    struct nest_reply reply;
    int fds[3];
    memset(&request, 0, sizeof(request));
    request.op = op;
    request.file.flags = flags;
    request.file.mode = 0644;
    (void)snprintf(request.file.path, sizeof(request.file.path), "%s", path);
    jail_nest_send(box, &request, NEST_REQUEST_SIZE(file), fd);
    if (fd >= 0) {
        close(fd);
    }
    size_t count = jail_nest_receive(box, &reply, fds);
    if (reply.op != op || reply.serial != request.serial) {
        die("reply to a file operation");
    }
    if (ret_fd != NULL) {
        *ret_fd = count > 0 ? fds[0] : -1;
    } else if (count > 0) {
        close(fds[0]);
    }
    return reply;
}

struct feed {
    int fd;
    const char *data;
    size_t size;
};

/* Returns false when the reader has given up: its reply says why. */
static bool put(int fd, const void *data, size_t size)
{
    const char *at = data;
    while (size > 0) {
        ssize_t written = write(fd, at, size);
        if (written < 0) {
            return false;
        }
        at += written;
        size -= (size_t)written;
    }
    return true;
}

static void *feed(void *context)
{
    struct feed *f = context;
    bool more = true;
    while (more) {
        uint32_t size = f->size < NEST_CHUNK_MAX ? (uint32_t)f->size : NEST_CHUNK_MAX;
        more = put(f->fd, &size, sizeof(size)) && put(f->fd, f->data, size) && size > 0;
        f->data += size;
        f->size -= size;
    }
    close(f->fd);
    return NULL;
}

struct nest_reply jail_write(struct jail_box *box, const char *path, uint32_t flags,
                             const void *data, size_t size)
{
    int pipes[2];
    pthread_t thread;
    (void)signal(SIGPIPE, SIG_IGN);
    if (pipe2(pipes, O_CLOEXEC) < 0) {
        die("pipe");
    }
    struct feed f = {.fd = pipes[1], .data = data, .size = size};
    if (pthread_create(&thread, NULL, feed, &f) != 0) {
        die("thread");
    }
    struct nest_reply reply = jail_file(box, NEST_WRITE, path, flags, pipes[0], NULL);
    pthread_join(thread, NULL);
    return reply;
}

struct nest_reply jail_connect_port(struct jail_box *box, uint32_t port, int *ret_fd)
{
    struct nest_request request = {.op = NEST_CONNECT, .port = port};
    struct nest_reply reply;
    int fds[3];
    jail_nest_send(box, &request, NEST_REQUEST_SIZE(port), -1);
    size_t count = jail_nest_receive(box, &reply, fds);
    *ret_fd = count > 0 ? fds[0] : -1;
    return reply;
}
