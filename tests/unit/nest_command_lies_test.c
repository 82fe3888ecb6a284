/* What a nest-init that was taken over says of commands: pipes, input and exits that are none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/liar.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define COMMAND 7

static struct liar liar;

/* --- pipes --- */

/* The descriptors of the next answer, a letter for each. */
static const char *kinds;
static uint32_t last_op;

static int open_kind(char kind)
{
    char path[64];
    int ends[2];
    int fd;

    switch (kind) {
    case 's':
        return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    case 'f':
        return open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    case 'd':
        return open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    case 'z':
        return open("/dev/zero", O_RDWR | O_CLOEXEC);
    default:
        break;
    }
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", ends[0]);
    if (kind == 'r' || kind == 'w')
        fd = dup(ends[kind == 'w']);
    else /* b: both ends in one; p: none that can be used */
        fd = open(path, (kind == 'b' ? O_RDWR : O_PATH) | O_CLOEXEC);
    (void)close(ends[0]);
    (void)close(ends[1]);
    return fd;
}

static void hand_pipes(struct liar *l, const struct nest_request *request, int handed)
{
    struct nest_reply reply = liar_truth(request);
    int fds[FDPASS_MAX] = {-1, -1, -1, -1};
    unsigned count = 0;

    (void)handed;
    last_op = request->op;
    if (request->op != NEST_ATTACH && request->op != NEST_SPAWN)
        return;
    for (; kinds[count] != '\0'; count++)
        fds[count] = open_kind(kinds[count]);
    liar_say(l, &reply, sizeof(reply), fds, count);
    fdpass_close(fds, count);
}

/* Output, error output, and input if it is open: whatever else it brings is no answer. */
static const struct pipes {
    const char *kinds;
    int expected;
} PIPES[] = {
    {"rr", 0},        {"rrw", 0},       {"", -EPROTO},    {"r", -EPROTO},   {"rrww", -EPROTO},
    {"ww", -EPROTO},  {"rw", -EPROTO},  {"rrr", -EPROTO}, {"br", -EPROTO},  {"rb", -EPROTO},
    {"rrb", -EPROTO}, {"pr", -EPROTO},  {"rp", -EPROTO},  {"rrp", -EPROTO}, {"ss", -EPROTO},
    {"rs", -EPROTO},  {"rrs", -EPROTO}, {"ff", -EPROTO},  {"rrf", -EPROTO}, {"dr", -EPROTO},
    {"rd", -EPROTO},  {"zr", -EPROTO},  {"rrz", -EPROTO},
};

static void assert_pipes(int r, const struct pipes *pipes, int fds[NEST_PIPE_COUNT])
{
    if (r != pipes->expected)
        fail_msg("`%s` got %d", pipes->kinds, r);
    for (unsigned i = 0; r == 0 && i < NEST_PIPE_COUNT; i++)
        assert_true((fds[i] >= 0) == (pipes->kinds[i] != '\0'));
    fdpass_close(fds, NEST_PIPE_COUNT);
}

static void attach_takes_pipes_only(void **state)
{
    int before = liar_count_descriptors();

    (void)state;
    for (size_t i = 0; i < COUNT(PIPES); i++) {
        int fds[NEST_PIPE_COUNT] = {-1, -1, -1};

        kinds = PIPES[i].kinds;
        liar_begin(&liar, hand_pipes, 1);
        assert_pipes(nest_attach(liar.nest, COMMAND, fds), &PIPES[i], fds);
        liar_end(&liar);
    }
    assert_int_equal(liar_count_descriptors(), before);
}

/* Nobody could hear of what was started so: it is killed. */
static void spawn_takes_pipes_only(void **state)
{
    struct nest_spawn_options options = {
        .user = NEST_USER, .cwd = "/", .argc = 1, .blob = bytes_of("x", 2), .keep_input = true};
    int before = liar_count_descriptors();

    (void)state;
    for (size_t i = 0; i < COUNT(PIPES); i++) {
        struct pipes pipes = PIPES[i];
        int fds[NEST_PIPE_COUNT] = {-1, -1, -1};
        enum nest_step step;

        /* Input was asked for. */
        if (strcmp(pipes.kinds, "rr") == 0)
            pipes.expected = -EPROTO;
        kinds = pipes.kinds;
        liar_begin(&liar, hand_pipes, pipes.expected == 0 ? 1 : 2);
        assert_pipes(nest_spawn(liar.nest, COMMAND, &options, fds, &step), &pipes, fds);
        liar_end(&liar);
        assert_int_equal(last_op, pipes.expected == 0 ? NEST_SPAWN : NEST_KILL);
    }
    assert_int_equal(liar_count_descriptors(), before);
}

/* --- input --- */

static const struct answer {
    int error;
    uint64_t taken;
    bool with_descriptor;
    int expected;
} INPUTS[] = {
    /* To eight bytes at 100. */
    {0, 108, false, 0},
    {0, 104, false, 0},
    {0, 100, false, 0},
    {0, 109, false, 0}, /* of others, who have written more */
    {0, UINT64_MAX, false, 0},
    {0, 99, false, -EPROTO},
    {0, 0, false, -EPROTO},
    {0, 108, true, -EPROTO},
    {-ERANGE, 99, false, -ERANGE},
    {-ERANGE, 100, false, -EPROTO},
    {-ERANGE, UINT64_MAX, false, -EPROTO},
    {-EPIPE, UINT64_MAX, false, -EPIPE},
    {-EPIPE, 0, true, -EPIPE},
    {1, 108, false, -EPROTO},
    {INT32_MAX, 108, false, -EPROTO},
    {INT32_MIN, 108, false, -EPROTO},
    {-4096, 108, false, -EPROTO},
    {-4095, 108, false, -4095},
};
static const struct answer *answer;

static void answer_so(struct liar *l, const struct nest_request *request, int handed)
{
    struct nest_reply reply = liar_truth(request);
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    (void)handed;
    reply.error = answer->error;
    reply.size_bytes = answer->taken;
    liar_say(l, &reply, sizeof(reply), &fd, answer->with_descriptor);
    (void)close(fd);
}

static void input_is_taken_as_far_as_can_be(void **state)
{
    int before = liar_count_descriptors();

    (void)state;
    for (answer = INPUTS; answer < INPUTS + COUNT(INPUTS); answer++) {
        uint64_t taken = 4711;
        bool told = answer->expected == 0 || answer->expected == -ERANGE;

        liar_begin(&liar, answer_so, 1);
        assert_int_equal(
            nest_input(liar.nest, COMMAND, 100, bytes_of("12345678", 8), false, &taken),
            answer->expected);
        assert_int_equal(taken, told ? answer->taken : 4711);
        liar_end(&liar);
    }
    assert_int_equal(liar_count_descriptors(), before);
}

static void other_answers_have_an_error_or_none(void **state)
{
    static const struct answer ANSWERS[] = {
        {0, 0, false, 0},          {0, 0, true, -EPROTO},    {-ENOTTY, 0, false, -ENOTTY},
        {-ESRCH, 0, true, -ESRCH}, {-4095, 0, false, -4095}, {-4096, 0, false, -EPROTO},
        {4096, 0, false, -EPROTO}, {1, 0, true, -EPROTO},    {INT32_MIN, 0, false, -EPROTO},
    };
    int before = liar_count_descriptors();

    (void)state;
    for (answer = ANSWERS; answer < ANSWERS + COUNT(ANSWERS); answer++) {
        liar_begin(&liar, answer_so, 3);
        assert_int_equal(nest_resize(liar.nest, COMMAND, 24, 80), answer->expected);
        assert_int_equal(nest_signal(liar.nest, COMMAND, 15, 1), answer->expected);
        assert_int_equal(nest_kill(liar.nest, COMMAND), answer->expected);
        liar_end(&liar);
    }
    assert_int_equal(liar_count_descriptors(), before);
}

/* --- at the wrong time --- */

static void exit_first(struct liar *l, const struct nest_request *request, int handed)
{
    struct nest_reply exited = {
        .version = NEST_WIRE_VERSION, .op = NEST_EXITED, .command = COMMAND, .wait_status = -1};
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    liar_say(l, &exited, sizeof(exited), &fd, 1);
    liar_say(l, &exited, sizeof(exited), NULL, 0);
    /* No event, and no answer to anything. */
    exited.serial = request->serial;
    liar_say(l, &exited, sizeof(exited), &fd, 1);
    (void)close(fd);
    hand_pipes(l, request, handed);
}

static void an_exit_before_hello_is_heard_and_disturbs_nothing(void **state)
{
    int before = liar_count_descriptors();
    int fds[NEST_PIPE_COUNT];

    (void)state;
    kinds = "rr";
    liar_begin(&liar, exit_first, 1);
    assert_int_equal(nest_attach(liar.nest, COMMAND, fds), 0);
    assert_int_equal(atomic_load(&liar.exits), 2);
    fdpass_close(fds, NEST_PIPE_COUNT);
    liar_end(&liar);
    assert_int_equal(liar_count_descriptors(), before);
}

/* Serials begin anew with each connection, so answers to the last one's may look like to be due. */
static void answer_the_last_connection(struct liar *l, const struct nest_request *request,
                                       int handed)
{
    struct nest_reply reply = liar_truth(request);
    int pipes[2] = {open_kind('r'), open_kind('r')};

    (void)handed;
    if (request->serial == 1) {
        for (reply.serial = 2; reply.serial < 50; reply.serial++) {
            liar_say(l, &reply, sizeof(reply), pipes, 2);
        }
    }
    reply.serial = request->serial;
    reply.error = request->serial == 1 ? -EBUSY : -ESRCH;
    liar_say(l, &reply, sizeof(reply), NULL, 0);
    fdpass_close(pipes, 2);
}

static void answers_to_an_earlier_connection_are_nobodys(void **state)
{
    int before = liar_count_descriptors();
    int fds[NEST_PIPE_COUNT] = {-1, -1, -1};

    (void)state;
    liar_begin(&liar, answer_the_last_connection, 2);
    assert_int_equal(nest_attach(liar.nest, COMMAND, fds), -EBUSY);
    assert_int_equal(nest_attach(liar.nest, COMMAND, fds), -ESRCH);
    assert_int_equal(fds[0], -1);
    liar_end(&liar);
    assert_int_equal(liar_count_descriptors(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attach_takes_pipes_only),
        cmocka_unit_test(spawn_takes_pipes_only),
        cmocka_unit_test(input_is_taken_as_far_as_can_be),
        cmocka_unit_test(other_answers_have_an_error_or_none),
        cmocka_unit_test(an_exit_before_hello_is_heard_and_disturbs_nothing),
        cmocka_unit_test(answers_to_an_earlier_connection_are_nobodys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
