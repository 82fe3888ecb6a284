/* A nest-init that is not ours: whatever it says or does not say, who asked gets an answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/sandbox/nest.h"
#include "server/util/clock.h"
#include "server/util/limits.h"

#define GRACE_MS 3000

struct hostile {
    struct loop *loop;
    struct nest *nest;
    int fd; /* nest-init's end */
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool closed;
};

static void on_exited(void *arg, const struct nest_reply *reply)
{
    (void)arg;
    (void)reply;
}

static void on_closed(void *arg)
{
    struct hostile *hostile = arg;

    (void)pthread_mutex_lock(&hostile->mutex);
    hostile->closed = true;
    (void)pthread_cond_broadcast(&hostile->changed);
    (void)pthread_mutex_unlock(&hostile->mutex);
}

static int setup(void **state)
{
    static struct hostile hostile;
    struct nest_hooks hooks = {.exited = on_exited, .closed = on_closed, .arg = &hostile};
    int ends[2];

    (void)signal(SIGPIPE, SIG_IGN);
    hostile =
        (struct hostile){.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0 ||
        loop_new(&hostile.loop) < 0)
        return -1;
    hostile.fd = ends[1];
    nest_new(hostile.loop, ends[0], &hooks, &hostile.nest);
    *state = &hostile;
    return 0;
}

static int teardown(void **state)
{
    struct hostile *hostile = *state;

    (void)close(hostile->fd);
    (void)pthread_mutex_lock(&hostile->mutex);
    while (!hostile->closed)
        (void)pthread_cond_wait(&hostile->changed, &hostile->mutex);
    (void)pthread_mutex_unlock(&hostile->mutex);
    loop_stop(hostile->loop);
    nest_unref(hostile->nest);
    loop_free(hostile->loop);
    return 0;
}

static void receive(struct hostile *hostile, struct nest_request *ret_request, int *ret_fd)
{
    struct pollfd poll_fd = {.fd = hostile->fd, .events = POLLIN};
    int fds[FDPASS_MAX];
    unsigned count = 0;

    (void)poll(&poll_fd, 1, -1);
    if (fdpass_receive(hostile->fd, ret_request, sizeof(*ret_request), fds, &count) > 0 && count)
        *ret_fd = fds[0];
}

static void reply(struct hostile *hostile, const struct nest_request *request, int *fds,
                  unsigned count)
{
    struct nest_reply answer = {
        .version = NEST_WIRE_VERSION, .op = request->op, .serial = request->serial};

    (void)fdpass_send(hostile->fd, &answer, sizeof(answer), fds, count);
}

/* Writes a directory's entry, one byte every tenth of a second, until nobody listens. */
static void *drip_entries(void *arg)
{
    struct nest_request request;
    int fd = -1;

    receive(arg, &request, &fd);
    do
        (void)poll(NULL, 0, 100);
    while (write(fd, "\001", 1) == 1);
    (void)close(fd);
    reply(arg, &request, NULL, 0);
    return NULL;
}

static bool visit(void *arg, const struct nest_entry *entry, struct bytes name)
{
    (void)arg;
    (void)entry;
    (void)name;
    return true;
}

static void a_listing_that_drips_has_an_end(void **state)
{
    struct hostile *hostile = *state;
    pthread_t thread;
    uint64_t begin = clock_monotonic_ms();

    assert_int_equal(pthread_create(&thread, NULL, drip_entries, hostile), 0);
    assert_true(nest_list(hostile->nest, "/", visit, NULL) < 0);
    /* The walk's own bound, and that of the answer after it. */
    assert_in_range(clock_monotonic_ms() - begin, 0, 2 * LIMIT_NEST_WAIT_MS + GRACE_MS);
    (void)pthread_join(thread, NULL);
}

/* Reads a page of an upload every tenth of a second, until there is no more. */
static void *sip_upload(void *arg)
{
    struct nest_request request;
    char page[4096];
    int fd = -1;

    receive(arg, &request, &fd);
    do
        (void)poll(NULL, 0, 100);
    while (read(fd, page, sizeof(page)) > 0);
    (void)close(fd);
    reply(arg, &request, NULL, 0);
    return NULL;
}

static void an_upload_that_is_sipped_has_an_end(void **state)
{
    static const uint8_t data[1 << 20];
    struct hostile *hostile = *state;
    const struct nest_upload_options options = {.path = "/x", .mode = 0644};
    struct nest_upload *upload;
    pthread_t thread;
    uint64_t begin = clock_monotonic_ms();

    assert_int_equal(pthread_create(&thread, NULL, sip_upload, hostile), 0);
    assert_int_equal(nest_upload_begin(hostile->nest, &options, &upload), 0);
    assert_int_equal(nest_upload_data(upload, bytes_of(data, sizeof(data))), -ETIMEDOUT);
    assert_in_range(clock_monotonic_ms() - begin, 0, LIMIT_NEST_WAIT_MS + GRACE_MS);
    nest_upload_abort(upload);
    assert_in_range(clock_monotonic_ms() - begin, 0, 2 * LIMIT_NEST_WAIT_MS + GRACE_MS);
    (void)pthread_join(thread, NULL);
}

static void *hand_over_sockets(void *arg)
{
    struct nest_request request;
    int blob = -1;
    int fds[4];

    receive(arg, &request, &blob);
    (void)close(blob);
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0 &&
        socketpair(AF_UNIX, SOCK_STREAM, 0, fds + 2) == 0)
        reply(arg, &request, fds, NEST_PIPE_COUNT);
    for (size_t i = 0; i < 4; i++)
        (void)close(fds[i]);
    return NULL;
}

static void outputs_that_are_no_pipes_are_refused_and_the_command_killed(void **state)
{
    struct hostile *hostile = *state;
    struct nest_spawn_options options = {
        .user = NEST_USER, .cwd = "/", .argc = 1, .keep_input = true, .blob = bytes_of("x", 2)};
    int fds[NEST_PIPE_COUNT];
    struct nest_request request;
    enum nest_step step;
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, hand_over_sockets, hostile), 0);
    assert_int_equal(nest_spawn(hostile->nest, 1, &options, fds, &step), -EPROTO);
    (void)pthread_join(thread, NULL);
    receive(hostile, &request, &fds[0]);
    assert_int_equal(request.op, NEST_KILL);
    assert_int_equal(request.command, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_listing_that_drips_has_an_end, setup, teardown),
        cmocka_unit_test_setup_teardown(an_upload_that_is_sipped_has_an_end, setup, teardown),
        cmocka_unit_test_setup_teardown(
            outputs_that_are_no_pipes_are_refused_and_the_command_killed, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
