/* A nest-init that was taken over lies in every field: no lie is believed, and none is kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/liar.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define FLOOD 2000

static struct liar liar;

/* --- lies of which each ends a request for a file --- */

static void hand(struct liar *l, const struct nest_request *request, int fd, unsigned count)
{
    struct nest_reply reply = liar_truth(request);
    const int fds[FDPASS_MAX] = {fd, fd, fd, fd};

    liar_say(l, &reply, sizeof(reply), fds, count);
    if (fd >= 0)
        (void)close(fd);
}

static void no_descriptor(struct liar *l, const struct nest_request *request, int handed)
{
    (void)handed;
    hand(l, request, -1, 0);
}

static void too_many_descriptors(struct liar *l, const struct nest_request *request, int handed)
{
    (void)handed;
    hand(l, request, open("/dev/null", O_RDONLY), 4);
}

static void a_fifo(struct liar *l, const struct nest_request *request, int handed)
{
    int ends[2];

    (void)handed;
    assert_int_equal(pipe(ends), 0);
    hand(l, request, ends[0], 1);
    (void)close(ends[1]);
}

static void a_directory(struct liar *l, const struct nest_request *request, int handed)
{
    (void)handed;
    hand(l, request, open("/", O_RDONLY | O_DIRECTORY), 1);
}

static void a_device(struct liar *l, const struct nest_request *request, int handed)
{
    (void)handed;
    hand(l, request, open("/dev/zero", O_RDONLY), 1);
}

static void a_path_descriptor(struct liar *l, const struct nest_request *request, int handed)
{
    (void)handed;
    hand(l, request, open("/proc/self/exe", O_PATH), 1);
}

static void a_writable_socket(struct liar *l, const struct nest_request *request, int handed)
{
    (void)handed;
    hand(l, request, socket(AF_UNIX, SOCK_STREAM, 0), 1);
}

static void a_datagram_socket(struct liar *l, const struct nest_request *request, int handed)
{
    (void)handed;
    hand(l, request, socket(AF_INET, SOCK_DGRAM, 0), 1);
}

static void a_positive_error(struct liar *l, const struct nest_request *request, int handed)
{
    struct nest_reply reply = liar_truth(request);

    (void)handed;
    reply.error = 5;
    liar_say(l, &reply, sizeof(reply), NULL, 0);
}

static void an_error_beyond_all_errors(struct liar *l, const struct nest_request *request,
                                       int handed)
{
    struct nest_reply reply = liar_truth(request);

    (void)handed;
    reply.error = INT32_MIN;
    liar_say(l, &reply, sizeof(reply), NULL, 0);
}

static void an_error_with_descriptors(struct liar *l, const struct nest_request *request,
                                      int handed)
{
    struct nest_reply reply = liar_truth(request);
    int fd = open("/dev/null", O_RDONLY);

    (void)handed;
    reply.error = -ENOENT;
    liar_say(l, &reply, sizeof(reply), &fd, 1);
    (void)close(fd);
}

static void a_short_reply(struct liar *l, const struct nest_request *request, int handed)
{
    struct nest_reply reply = liar_truth(request);

    (void)handed;
    liar_say(l, &reply, sizeof(reply) - 1, NULL, 0);
}

static void a_short_reply_with_descriptors(struct liar *l, const struct nest_request *request,
                                           int handed)
{
    struct nest_reply reply = liar_truth(request);
    int fd = open("/dev/null", O_RDONLY);
    const int fds[4] = {fd, fd, fd, fd};

    (void)handed;
    liar_say(l, &reply, 1, fds, 4);
    (void)close(fd);
}

static void an_empty_message_with_descriptors(struct liar *l, const struct nest_request *request,
                                              int handed)
{
    struct nest_reply reply = liar_truth(request);
    int fd = open("/dev/null", O_RDONLY);
    const int fds[4] = {fd, fd, fd, fd};

    (void)handed;
    liar_say(l, &reply, 0, fds, 4);
    (void)close(fd);
}

static void a_long_reply(struct liar *l, const struct nest_request *request, int handed)
{
    char data[sizeof(struct nest_reply) * 2] = {0};
    struct nest_reply reply = liar_truth(request);

    (void)handed;
    memcpy(data, &reply, sizeof(reply));
    (void)fdpass_send(l->fd, data, sizeof(data), NULL, 0);
}

static void another_version(struct liar *l, const struct nest_request *request, int handed)
{
    struct nest_reply reply = liar_truth(request);

    (void)handed;
    reply.version++;
    liar_say(l, &reply, sizeof(reply), NULL, 0);
}

/* What does not fit is dropped; the true answer, coming later, is taken. */
static void others_first(struct liar *l, const struct nest_request *request, int handed)
{
    struct nest_reply reply = liar_truth(request);
    int fd = open("/dev/null", O_RDONLY);

    (void)handed;
    for (int i = 0; i < 100; i++) {
        reply.serial = request->serial + 1 + (uint64_t)i;
        liar_say(l, &reply, sizeof(reply), &fd, 1);
        reply.serial = request->serial;
        reply.op = (uint32_t)i == request->op ? 0 : (uint32_t)i;
        liar_say(l, &reply, sizeof(reply), &fd, 1);
        reply = liar_truth(request);
    }
    reply.error = -ENXIO;
    liar_say(l, &reply, sizeof(reply), NULL, 0);
    /* Said twice: the second finds nobody. */
    reply.error = 0;
    liar_say(l, &reply, sizeof(reply), &fd, 1);
    (void)close(fd);
}

static const struct lie {
    const char *name;
    void (*tell)(struct liar *, const struct nest_request *, int);
    int expected;
} LIES[] = {
    {"success without a descriptor", no_descriptor, -EPROTO},
    {"four descriptors for one", too_many_descriptors, -EPROTO},
    {"a fifo", a_fifo, -EPROTO},
    {"a directory", a_directory, -EPROTO},
    {"a device", a_device, -EPROTO},
    {"a path descriptor", a_path_descriptor, -EPROTO},
    {"a unix socket", a_writable_socket, -EPROTO},
    {"a datagram socket", a_datagram_socket, -EPROTO},
    {"a positive error", a_positive_error, -EPROTO},
    {"an error beyond all errors", an_error_beyond_all_errors, -EPROTO},
    {"an error with descriptors", an_error_with_descriptors, -ENOENT},
    {"a short reply", a_short_reply, -ECONNRESET},
    {"a short reply with descriptors", a_short_reply_with_descriptors, -ECONNRESET},
    {"an empty message with descriptors", an_empty_message_with_descriptors, -ECONNRESET},
    {"a long reply", a_long_reply, -ECONNRESET},
    {"another version", another_version, -ECONNRESET},
    {"answers to what was not asked", others_first, -ENXIO},
};

static void is_refused(void **state)
{
    const struct lie *lie = *state;
    int before = liar_count_descriptors();

    for (int connect = 0; connect < 2; connect++) {
        uint64_t size = 0;
        int fd = -1;
        int r;

        liar_begin(&liar, lie->tell, 1);
        r = connect ? nest_connect(liar.nest, 80, &fd) : nest_read(liar.nest, "f", 0, &fd, &size);
        assert_int_equal(r, lie->expected);
        assert_int_equal(fd, -1);
        liar_end(&liar);
    }
    assert_int_equal(liar_count_descriptors(), before);
}

/* --- walks --- */

static void walk_with(struct liar *l, const struct nest_request *request, int handed,
                      uint32_t name_bytes, size_t given)
{
    static const char name[NEST_PATH_MAX];
    struct nest_entry entry = {.name_bytes = name_bytes};
    struct nest_reply reply = liar_truth(request);

    (void)!write(handed, &entry, sizeof(entry));
    (void)!write(handed, name, given);
    liar_say(l, &reply, sizeof(reply), NULL, 0);
}

static void huge_name(struct liar *l, const struct nest_request *request, int handed)
{
    walk_with(l, request, handed, UINT32_MAX, 16);
}

static void name_just_too_long(struct liar *l, const struct nest_request *request, int handed)
{
    walk_with(l, request, handed, NEST_PATH_MAX + 1, NEST_PATH_MAX);
}

static void empty_name(struct liar *l, const struct nest_request *request, int handed)
{
    walk_with(l, request, handed, 0, 0);
}

static void half_a_name(struct liar *l, const struct nest_request *request, int handed)
{
    walk_with(l, request, handed, 100, 50);
}

static void half_an_entry(struct liar *l, const struct nest_request *request, int handed)
{
    struct nest_reply reply = liar_truth(request);

    (void)!write(handed, &reply, sizeof(struct nest_entry) / 2);
    liar_say(l, &reply, sizeof(reply), NULL, 0);
}

static bool visit(void *arg, const struct nest_entry *entry, struct bytes name)
{
    (void)entry;
    (void)name;
    (*(int *)arg)++;
    return true;
}

static void a_walk_that_lies_is_refused(void **state)
{
    static void (*const WALKS[])(struct liar *, const struct nest_request *, int) = {
        huge_name, name_just_too_long, empty_name, half_a_name, half_an_entry};
    int before = liar_count_descriptors();

    (void)state;
    for (size_t i = 0; i < COUNT(WALKS); i++) {
        int visits = 0;

        liar_begin(&liar, WALKS[i], 1);
        assert_int_equal(nest_list(liar.nest, "/", visit, &visits), -EPROTO);
        assert_int_equal(visits, 0);
        liar_end(&liar);
    }
    assert_int_equal(liar_count_descriptors(), before);
}

/* --- floods --- */

static void exits_of_nobody(struct liar *l, const struct nest_request *request, int handed)
{
    struct nest_reply reply = {.version = NEST_WIRE_VERSION, .op = NEST_EXITED};
    int fd = open("/dev/null", O_RDONLY);

    (void)handed;
    for (uint64_t i = 0; i < FLOOD; i++) {
        struct pollfd room = {.fd = l->fd, .events = POLLOUT};

        (void)poll(&room, 1, -1);
        reply.command = i * 7919;
        if (fdpass_send(l->fd, &reply, sizeof(reply), &fd, i % 2) < 0)
            i--;
    }
    (void)close(fd);
    reply = liar_truth(request);
    reply.error = -ESRCH;
    struct pollfd room = {.fd = l->fd, .events = POLLOUT};

    while (fdpass_send(l->fd, &reply, sizeof(reply), NULL, 0) == -EAGAIN)
        (void)poll(&room, 1, -1);
}

static void a_flood_of_exits_delays_nothing_for_ever(void **state)
{
    int before = liar_count_descriptors();

    (void)state;
    liar_begin(&liar, exits_of_nobody, 1);
    assert_int_equal(nest_kill(liar.nest, 1), -ESRCH);
    assert_int_equal(atomic_load(&liar.exits), FLOOD);
    liar_end(&liar);
    assert_int_equal(liar_count_descriptors(), before);
}

static void silence(struct liar *l, const struct nest_request *request, int handed)
{
    (void)l;
    (void)request;
    (void)handed;
}

static void silence_has_an_end(void **state)
{
    (void)state;
    liar_begin(&liar, silence, 1);
    assert_int_equal(nest_kill(liar.nest, 1), -ETIMEDOUT);
    liar_end(&liar);
}

int main(void)
{
    static struct CMUnitTest tests[COUNT(LIES) + 3];
    struct CMUnitTest *next = tests;

    for (size_t i = 0; i < COUNT(LIES); i++)
        *next++ = (struct CMUnitTest){.name = LIES[i].name,
                                      .test_func = is_refused,
                                      .initial_state = (void *)(uintptr_t)&LIES[i]};
    *next++ = (struct CMUnitTest)cmocka_unit_test(a_walk_that_lies_is_refused);
    *next++ = (struct CMUnitTest)cmocka_unit_test(a_flood_of_exits_delays_nothing_for_ever);
    *next++ = (struct CMUnitTest)cmocka_unit_test(silence_has_an_end);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
