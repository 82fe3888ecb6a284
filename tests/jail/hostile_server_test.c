/* A server that was taken over and means harm: sandboxd goes on serving, and gives no more. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/jail/fixture.h"
#include "tests/jail/hostile_host.h"

#define MAX_CONNECTIONS 8
#define FLOOD 20000
#define CREATES 1000

static struct host host;

static bool greet(int socket)
{
    struct sd_request hello = {.version = SD_WIRE_VERSION, .op = SD_HELLO};
    struct sd_reply reply;
    int fds[SD_FD_COUNT];
    /* It may be closed already. */
    (void)!send(socket, &hello, sizeof(hello), MSG_NOSIGNAL);
    return jail_receive(socket, &reply, fds) && reply.error == 0;
}

/* The first connection is served as ever. */
static void assert_served(struct jail_daemon *daemon)
{
    static struct jail_run run;
    struct jail_box box;
    jail_create(daemon, &box);
    jail_shell(&box, "echo served", &run);
    assert_string_equal(run.out, "served\n");
    assert_int_equal(jail_kill(daemon, &box).error, 0);
    host_beat(&host);
}

static void connections_beyond_the_bound_are_closed(void **state)
{
    int sockets[MAX_CONNECTIONS * 3];
    int greeted = 0;
    for (size_t i = 0; i < MAX_CONNECTIONS * 3; i++) {
        sockets[i] = jail_connect(*state);
        greeted += greet(sockets[i]);
    }
    assert_int_equal(greeted, MAX_CONNECTIONS - 1); /* the fixture has one */
    assert_served(*state);
    for (size_t i = 0; i < MAX_CONNECTIONS * 3; i++) {
        close(sockets[i]);
    }
}

static void connections_that_say_nothing_hold_up_nobody(void **state)
{
    int sockets[MAX_CONNECTIONS - 1];
    for (size_t i = 0; i < MAX_CONNECTIONS - 1; i++) {
        sockets[i] = jail_connect(*state);
    }
    assert_served(*state);
    for (size_t i = 0; i < MAX_CONNECTIONS - 1; i++) {
        close(sockets[i]);
    }
}

/* Until its buffers are full sandboxd answers, and then it hangs up. */
static void replies_that_nobody_reads_end_the_connection(void **state)
{
    struct sd_request request = {.version = SD_WIRE_VERSION, .op = SD_INVENTORY};
    int socket = jail_connect(*state);
    int sent = 0;
    assert_true(greet(socket));
    while (sent < FLOOD && send(socket, &request, sizeof(request), MSG_NOSIGNAL) > 0) {
        request.serial++;
        sent++;
    }
    assert_true(sent < FLOOD);
    assert_true(errno == EPIPE || errno == ECONNRESET);
    close(socket);
    assert_served(*state);
}

static void a_thousand_refused_creates_leave_nothing(void **state)
{
    struct jail_daemon *daemon = *state;
    int socket = jail_connect(daemon);
    assert_true(greet(socket));
    for (int i = 0; i < CREATES; i++) {
        struct sd_request request;
        struct sd_reply reply;
        int fds[SD_FD_COUNT];
        jail_fill_create(daemon, &request);
        request.limits.memory_bytes = UINT64_MAX - (uint64_t)i;
        jail_send(socket, &request);
        assert_true(jail_receive(socket, &reply, fds));
        assert_int_equal(reply.error, -EINVAL);
        assert_int_equal(fds[0], -1);
    }
    struct sd_request inventory = {.version = SD_WIRE_VERSION, .op = SD_INVENTORY};
    struct sd_reply reply;
    int fds[SD_FD_COUNT];
    jail_send(socket, &inventory);
    assert_true(jail_receive(socket, &reply, fds));
    assert_memory_equal(reply.sandbox, host.neighbour.id, SD_ID_SIZE);
    assert_true(jail_receive(socket, &reply, fds));
    assert_int_equal(reply.sandbox[0], '\0'); /* nobody else */
    close(socket);
    assert_served(*state);
}

static void connecting_and_leaving_in_the_middle_is_survived(void **state)
{
    for (int i = 0; i < 200; i++) {
        struct sd_request request;
        int socket = jail_connect(*state);
        jail_fill_create(*state, &request);
        (void)!send(socket, &request, (size_t)i % sizeof(request), MSG_NOSIGNAL);
        close(socket);
    }
    assert_served(*state);
}

/* The jail is built for nobody; it can be found, and killed. */
static void creation_whose_asker_has_gone_is_found(void **state)
{
    struct jail_daemon *daemon = *state;
    struct sd_request request;
    int socket = jail_connect(daemon);
    assert_true(greet(socket));
    jail_fill_create(daemon, &request);
    jail_send(socket, &request);
    close(socket);
    struct sd_request kill_it = jail_request(daemon, SD_KILL, request.sandbox);
    struct sd_reply reply = jail_ask(daemon, &kill_it, NULL);
    while (reply.error == -ENOENT) { /* the other connection's turn comes later */
        kill_it = jail_request(daemon, SD_KILL, request.sandbox);
        reply = jail_ask(daemon, &kill_it, NULL);
    }
    assert_int_equal(reply.error, 0);
    assert_served(*state);
}

static int start(void **state)
{
    if (fixture_start(state) < 0) {
        return -1;
    }
    host_open(&host, *state);
    return 0;
}

static int stop(void **state)
{
    host_close(&host);
    return fixture_stop(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connections_beyond_the_bound_are_closed),
        cmocka_unit_test(connections_that_say_nothing_hold_up_nobody),
        cmocka_unit_test(replies_that_nobody_reads_end_the_connection),
        cmocka_unit_test(a_thousand_refused_creates_leave_nothing),
        cmocka_unit_test(connecting_and_leaving_in_the_middle_is_survived),
        cmocka_unit_test(creation_whose_asker_has_gone_is_found),
    };
    return fixture_can_run() ? cmocka_run_group_tests(tests, start, stop) : fixture_skip();
}
