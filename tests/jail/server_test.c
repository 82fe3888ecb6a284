/* A server that has been taken over: whatever it sends, it gets no more than the table allows. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/jail/fixture.h"

static const char OTHER_ID[SD_ID_SIZE] = "sbx_0123456789abcdefghjkmnpqrs";

static void hello_on(int socket)
{
    struct sd_request hello = {.version = SD_WIRE_VERSION, .op = SD_HELLO};
    struct sd_reply reply;
    int fds[SD_FD_COUNT];
    jail_send(socket, &hello);
    assert_true(jail_receive(socket, &reply, fds));
    assert_int_equal(reply.error, 0);
}

/* Sends raw bytes, with a descriptor or -1; the connection must end without an answer. */
static void assert_thrown_out(struct jail_daemon *daemon, bool greet, const void *data, size_t size,
                              size_t fd_count)
{
    union {
        char buffer[CMSG_SPACE(sizeof(int) * 16)];
        struct cmsghdr align;
    } control = {0};
    struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = size};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    int socket = jail_connect(daemon);
    if (greet) {
        hello_on(socket);
    }
    if (fd_count > 0) {
        int fds[16] = {0};
        message.msg_control = control.buffer;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
        memcpy(CMSG_DATA(header), fds, sizeof(int) * fd_count);
    }
    assert_int_equal(sendmsg(socket, &message, MSG_NOSIGNAL), size);
    struct sd_reply reply;
    int fds[SD_FD_COUNT];
    assert_false(jail_receive(socket, &reply, fds));
    close(socket);
}

static void malformed_messages_end_the_connection(void **state)
{
    struct jail_daemon *daemon = *state;
    struct sd_request good;
    jail_fill_create(daemon, &good);
    char longer[sizeof(good) + 8] = {0};
    memcpy(longer, &good, sizeof(good));
    assert_thrown_out(daemon, true, &good, sizeof(good) - 1, 0);
    assert_thrown_out(daemon, true, longer, sizeof(longer), 0);
    assert_thrown_out(daemon, true, &good, 1, 0);
    assert_thrown_out(daemon, true, &good, sizeof(good), 1);
    assert_thrown_out(daemon, true, &good, sizeof(good), 16);
    assert_thrown_out(daemon, false, &good, sizeof(good), 0);

    struct sd_request bad = good;
    bad.version++;
    assert_thrown_out(daemon, true, &bad, sizeof(bad), 0);
    static const uint32_t OPS[] = {0, SD_HELLO, SD_OP_COUNT, 1000, UINT32_MAX};
    for (size_t i = 0; i < sizeof(OPS) / sizeof(OPS[0]); i++) {
        bad = good;
        bad.op = OPS[i];
        assert_thrown_out(daemon, true, &bad, sizeof(bad), 0);
    }
}

static void ids_outside_the_alphabet_end_the_connection(void **state)
{
    static const char *const IDS[] = {
        "",
        "sbx_",
        "sbx_0123456789abcdefghjkmnpqr",
        "sbx_0123456789abcdefghjkmnpqrst",
        "sbx_0123456789ABCDEFGHJKMNPQRS",
        "sbx_../../../../../etc/passwd.",
        "cmd_0123456789abcdefghjkmnpqrs",
        "sbx_0123456789abcdefghjkmnpqr/",
        "sbx_0123456789abcdefghjkmnpqru",
        "/proc/self/root/etc/passwd....",
    };
    static const uint32_t OPS[] = {SD_CREATE, SD_KILL, SD_ADOPT, SD_FREEZE, SD_THAW};
    for (size_t i = 0; i < sizeof(IDS) / sizeof(IDS[0]); i++) {
        for (size_t o = 0; o < sizeof(OPS) / sizeof(OPS[0]); o++) {
            struct sd_request bad;
            jail_fill_create(*state, &bad);
            bad.op = OPS[o];
            if (bad.op != SD_CREATE) {
                memset(bad.template_digest, 0, sizeof(bad.template_digest));
                memset(&bad.limits, 0, sizeof(bad.limits));
            }
            memset(bad.sandbox, 0, sizeof(bad.sandbox));
            memcpy(bad.sandbox, IDS[i], strlen(IDS[i]));
            assert_thrown_out(*state, true, &bad, sizeof(bad), 0);
        }
    }
    struct sd_request bad = jail_request(*state, SD_KILL, OTHER_ID);
    bad.sandbox[SD_ID_SIZE - 1] = 'x';
    assert_thrown_out(*state, true, &bad, sizeof(bad), 0);
    bad = jail_request(*state, SD_KILL, OTHER_ID);
    bad.limits.cpu_millis = 1; /* a field that the op does not use */
    assert_thrown_out(*state, true, &bad, sizeof(bad), 0);
}

static void numbers_beyond_the_policy_are_refused(void **state)
{
    static const struct sd_limits GOOD = JAIL_LIMITS(64, 16, 500, 64);
#define FIELD(name)                                                                                \
    {                                                                                              \
#name, offsetof(struct sd_limits, name), sizeof(GOOD.name)                                 \
    }
    static const struct {
        const char *name;
        size_t offset;
        size_t size;
    } FIELDS[] = {FIELD(memory_bytes),     FIELD(disk_bytes), FIELD(disk_inodes),
                  FIELD(io_bytes_per_sec), FIELD(cpu_millis), FIELD(max_processes),
                  FIELD(max_open_files),   FIELD(max_ptys)};
    for (size_t i = 0; i < 2 * sizeof(FIELDS) / sizeof(FIELDS[0]); i++) {
        struct sd_request request;
        jail_fill_create(*state, &request);
        request.limits = GOOD;
        /* Nothing at all, and the largest number there is. */
        memset((char *)&request.limits + FIELDS[i / 2].offset, i % 2 == 0 ? 0 : 0xff,
               FIELDS[i / 2].size);
        struct sd_reply reply = jail_ask(*state, &request, NULL);
        assert_int_equal(reply.error, -EINVAL);
        assert_string_equal(reply.step, "limits");
        assert_string_equal(reply.detail, FIELDS[i / 2].name);
    }
#undef FIELD
}

static void unknown_template_is_named(void **state)
{
    struct sd_request request;
    jail_fill_create(*state, &request);
    request.template_digest[0] ^= 1;
    struct sd_reply reply = jail_ask(*state, &request, NULL);
    assert_int_equal(reply.error, -ENOENT);
    assert_string_equal(reply.step, "image");
    /* And the id is free again. */
    request = jail_request(*state, SD_KILL, request.sandbox);
    assert_int_equal(jail_ask(*state, &request, NULL).error, -ENOENT);
}

static void requests_out_of_order_are_refused(void **state)
{
    struct jail_box box;
    struct sd_request request;
    static const uint32_t NEED_A_SANDBOX[] = {SD_KILL, SD_ADOPT, SD_FREEZE, SD_THAW};
    for (size_t i = 0; i < 4; i++) {
        request = jail_request(*state, NEED_A_SANDBOX[i], OTHER_ID);
        assert_int_equal(jail_ask(*state, &request, NULL).error, -ENOENT);
    }
    jail_create(*state, &box);
    jail_fill_create(*state, &request);
    memcpy(request.sandbox, box.id, SD_ID_SIZE);
    assert_int_equal(jail_ask(*state, &request, NULL).error, -EEXIST);
    request = jail_request(*state, SD_THAW, box.id);
    assert_int_equal(jail_ask(*state, &request, NULL).error, -EBUSY);
    request = jail_request(*state, SD_FREEZE, box.id);
    assert_int_equal(jail_ask(*state, &request, NULL).error, 0);
    request = jail_request(*state, SD_FREEZE, box.id);
    assert_int_equal(jail_ask(*state, &request, NULL).error, -EBUSY);
    assert_int_equal(jail_kill(*state, &box).error, 0); /* frozen as it is */
    request = jail_request(*state, SD_KILL, box.id);
    assert_int_equal(jail_ask(*state, &request, NULL).error, -ENOENT);
}

/* Whoever comes next has perhaps seen the inventory before it was there. */
static void what_nobody_was_told_of_is_removed(void **state)
{
    struct jail_daemon *daemon = *state;
    struct sd_request create;
    int error;
    int socket = jail_connect(daemon);
    hello_on(socket);
    jail_fill_create(daemon, &create);
    /* sandboxd hears at once of the request and of who made it being gone. */
    assert_int_equal(kill(daemon->pid, SIGSTOP), 0);
    jail_send(socket, &create);
    close(socket);
    assert_int_equal(kill(daemon->pid, SIGCONT), 0);
    bool seen = false;
    do {
        struct sd_request adopt = jail_request(daemon, SD_ADOPT, create.sandbox);
        error = jail_ask(daemon, &adopt, NULL).error;
        seen = seen || error == -EBUSY;
    } while (!seen || error == -EBUSY);
    assert_int_equal(error, -ENOENT);
}

static void frozen_sandbox_thaws(void **state)
{
    static struct jail_run run;
    struct jail_box box;
    struct sd_request request;
    jail_create(*state, &box);
    request = jail_request(*state, SD_FREEZE, box.id);
    assert_int_equal(jail_ask(*state, &request, NULL).error, 0);
    request = jail_request(*state, SD_THAW, box.id);
    assert_int_equal(jail_ask(*state, &request, NULL).error, 0);
    jail_shell(&box, "echo alive", &run);
    assert_string_equal(run.out, "alive\n");
    assert_int_equal(jail_kill(*state, &box).error, 0);
}

static void sandbox_outlives_its_servers_connection(void **state)
{
    static struct jail_run run;
    struct jail_daemon *daemon = *state;
    struct jail_box box;
    struct sd_reply reply;
    int fds[SD_FD_COUNT];
    jail_create(daemon, &box);
    close(box.control);
    close(box.pidfd);
    close(daemon->socket);
    daemon->socket = jail_connect(daemon);
    hello_on(daemon->socket);

    struct sd_request request = jail_request(daemon, SD_INVENTORY, NULL);
    reply = jail_ask(daemon, &request, NULL);
    assert_memory_equal(reply.sandbox, box.id, SD_ID_SIZE);
    assert_int_equal(reply.state, SD_STATE_RUNNING);
    assert_true(jail_receive(daemon->socket, &reply, fds));
    assert_int_equal(reply.sandbox[0], '\0');

    request = jail_request(daemon, SD_ADOPT, box.id);
    assert_int_equal(jail_ask(daemon, &request, fds).error, 0);
    box.control = fds[SD_FD_CONTROL];
    box.pidfd = fds[SD_FD_PIDFD];
    jail_hello(&box);
    jail_shell(&box, "echo adopted", &run);
    assert_string_equal(run.out, "adopted\n");
    assert_int_equal(jail_kill(daemon, &box).error, 0);
}

static void many_creates_at_once_all_get_an_answer(void **state)
{
    enum { COUNT = 40 };
    struct jail_daemon *daemon = *state;
    static char ids[COUNT][SD_ID_SIZE];
    for (int i = 0; i < COUNT; i++) {
        struct sd_request request;
        jail_fill_create(daemon, &request);
        request.limits.memory_bytes = 32ULL << 20;
        memcpy(ids[i], request.sandbox, SD_ID_SIZE);
        jail_send(daemon->socket, &request);
    }
    /* Some are killed before they were ever built. */
    for (int i = 0; i < COUNT; i++) {
        struct sd_request request = jail_request(daemon, SD_KILL, ids[i]);
        jail_send(daemon->socket, &request);
    }
    int answers[SD_OP_COUNT] = {0};
    for (int i = 0; i < COUNT * 2; i++) {
        struct sd_reply reply;
        int fds[SD_FD_COUNT];
        assert_true(jail_receive(daemon->socket, &reply, fds));
        assert_true(reply.op == SD_CREATE || reply.op == SD_KILL);
        if (reply.op == SD_KILL || reply.error != 0) {
            assert_int_equal(reply.error, reply.op == SD_KILL ? 0 : -ECANCELED);
        }
        answers[reply.op]++;
        for (int f = 0; f < SD_FD_COUNT; f++) {
            if (fds[f] >= 0) {
                close(fds[f]);
            }
        }
    }
    assert_int_equal(answers[SD_CREATE], COUNT);
    assert_int_equal(answers[SD_KILL], COUNT);
}

/* The connections of a server that leaks them do not keep the next one out for ever. */
static void there_is_room_for_so_many_connections(void **state)
{
    enum { MANY = 40 };
    struct jail_daemon *daemon = *state;
    int sockets[MANY];
    int served = 0;
    for (int i = 0; i < MANY; i++) {
        struct sd_request hello = {.version = SD_WIRE_VERSION, .op = SD_HELLO};
        struct sd_reply reply;
        int fds[SD_FD_COUNT];
        sockets[i] = jail_connect(daemon);
        (void)send(sockets[i], &hello, sizeof(hello), MSG_NOSIGNAL);
        served += jail_receive(sockets[i], &reply, fds);
    }
    assert_in_range(served, 4, MANY - 1);
    for (int i = 0; i < MANY; i++) {
        close(sockets[i]);
    }
    /* It has seen their ends before it answers here. */
    struct sd_request request = jail_request(daemon, SD_INVENTORY, NULL);
    assert_int_equal(jail_ask(daemon, &request, NULL).error, 0);
    sockets[0] = jail_connect(daemon);
    hello_on(sockets[0]);
    close(sockets[0]);
}

static void strangers_may_not_connect(void **state)
{
    const struct jail_daemon *daemon = *state;
    struct stat st;
    assert_int_equal(stat(daemon->socket_path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    /* Even where the file system lets them in, the peer's credentials do not. */
    assert_int_equal(chmod(daemon->dir, 0755), 0);
    assert_int_equal(chmod(daemon->socket_path, 0666), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct sd_reply reply;
        int fds[SD_FD_COUNT];
        if (setresgid(65534, 65534, 65534) < 0 || setresuid(65534, 65534, 65534) < 0) {
            _exit(2);
        }
        int socket = jail_connect(daemon);
        struct sd_request hello = {.version = SD_WIRE_VERSION, .op = SD_HELLO};
        (void)!send(socket, &hello, sizeof(hello), MSG_NOSIGNAL);
        _exit(jail_receive(socket, &reply, fds) ? 1 : 0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(chmod(daemon->socket_path, 0600), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(malformed_messages_end_the_connection),
        cmocka_unit_test(ids_outside_the_alphabet_end_the_connection),
        cmocka_unit_test(numbers_beyond_the_policy_are_refused),
        cmocka_unit_test(unknown_template_is_named),
        cmocka_unit_test(requests_out_of_order_are_refused),
        cmocka_unit_test(what_nobody_was_told_of_is_removed),
        cmocka_unit_test(frozen_sandbox_thaws),
        cmocka_unit_test(sandbox_outlives_its_servers_connection),
        cmocka_unit_test(many_creates_at_once_all_get_an_answer),
        cmocka_unit_test(there_is_room_for_so_many_connections),
        cmocka_unit_test(strangers_may_not_connect),
    };
    return fixture_main(tests);
}
