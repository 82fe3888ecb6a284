/* Input by offset: each byte once, however often it is sent, and an end when it is said. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/jail/box.h"

static int fds[3];

static uint64_t start(const char *line)
{
    const char *const argv[] = {"sh", "-c", line, NULL};
    struct nest_reply reply = jail_spawn(&box, NEST_USER, "/workspace", argv, fds);
    assert_int_equal(reply.error, 0);
    return reply.command;
}

static void finish(uint64_t command, const char *expected)
{
    char out[256] = {0};
    close(fds[2]);
    jail_wait(&box, command, &run);
    assert_true(read(fds[0], out, sizeof(out) - 1) >= 0);
    assert_string_equal(out, expected);
    close(fds[0]);
    close(fds[1]);
}

static void assert_taken(uint64_t command, uint64_t offset, const char *data, bool end,
                         uint64_t expected)
{
    struct nest_reply reply = jail_input(&box, command, offset, data, strlen(data), end);
    assert_int_equal(reply.error, 0);
    assert_int_equal(reply.size_bytes, expected);
}

static void repeated_bytes_count_once(void **state)
{
    uint64_t command = start("cat");
    (void)state;
    assert_taken(command, 0, "hello ", false, 6);
    assert_taken(command, 0, "hello ", false, 6);
    assert_taken(command, 3, "lo world", false, 11);
    assert_taken(command, 11, "", true, 11);
    /* And the end, too. */
    assert_taken(command, 11, "", true, 11);
    finish(command, "hello world");
}

static void a_gap_is_refused(void **state)
{
    uint64_t command = start("cat");
    (void)state;
    struct nest_reply reply = jail_input(&box, command, 5, "x", 1, false);
    assert_int_equal(reply.error, -ERANGE);
    assert_int_equal(reply.size_bytes, 0);
    assert_taken(command, 0, "ok", true, 2);
    finish(command, "ok");
}

static void what_nobody_reads_is_not_taken(void **state)
{
    static char data[NEST_INPUT_MAX];
    uint64_t command = start("read line; head -c 200000 > /dev/null; cat");
    uint64_t offset = 0;
    (void)state;
    memset(data, 'x', sizeof(data));
    for (;;) {
        struct nest_reply reply = jail_input(&box, command, offset, data, sizeof(data), false);
        assert_int_equal(reply.error, 0);
        if (reply.size_bytes == offset) {
            break;
        }
        assert_in_range(reply.size_bytes, offset, offset + sizeof(data));
        offset = reply.size_bytes;
    }
    /* No more than a pipe holds; the command is there and can be ended. */
    assert_in_range(offset, 1, 1 << 20);
    struct nest_request request = {.op = NEST_KILL, .command = command};
    struct nest_reply reply;
    int none[3];
    jail_nest_send(&box, &request, NEST_HEADER_SIZE, -1);
    (void)jail_nest_receive(&box, &reply, none);
    assert_int_equal(reply.error, 0);
    finish(command, "");
}

static void closed_input_takes_no_more(void **state)
{
    uint64_t command = start("exec <&-; echo closed; sleep 1000");
    char said[16] = {0};
    (void)state;
    assert_int_equal(read(fds[0], said, sizeof(said) - 1), 7);
    assert_int_equal(jail_input(&box, command, 0, "x", 1, false).error, -EPIPE);
    struct nest_request request = {.op = NEST_KILL, .command = command};
    struct nest_reply reply;
    int none[3];
    jail_nest_send(&box, &request, NEST_HEADER_SIZE, -1);
    (void)jail_nest_receive(&box, &reply, none);
    finish(command, "");
}

static void requests_that_lie_about_their_size_are_refused(void **state)
{
    static union {
        struct nest_request request;
        char bytes[NEST_INPUT_SIZE(NEST_INPUT_MAX)];
    } message = {.request = {.op = NEST_INPUT, .command = 1, .input = {.size = 2}}};
    static const size_t SIZES[] = {NEST_HEADER_SIZE, NEST_INPUT_SIZE(0), NEST_INPUT_SIZE(3),
                                   NEST_INPUT_SIZE(NEST_INPUT_MAX)};
    (void)state;
    for (size_t i = 0; i < sizeof(SIZES) / sizeof(SIZES[0]); i++) {
        struct nest_reply reply;
        int none[3];
        jail_nest_send(&box, &message.request, SIZES[i], -1);
        (void)jail_nest_receive(&box, &reply, none);
        assert_int_equal(reply.error, -EPROTO);
    }
}

static void a_command_without_input_reads_its_end(void **state)
{
    (void)state;
    jail_shell(&box, "cat; echo end", &run);
    assert_string_equal(run.out, "end\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, create_box, kill_box)
        TEST(repeated_bytes_count_once),
        TEST(a_gap_is_refused),
        TEST(what_nobody_reads_is_not_taken),
        TEST(closed_input_takes_no_more),
        TEST(requests_that_lie_about_their_size_are_refused),
        TEST(a_command_without_input_reads_its_end),
    };
    return fixture_main(tests);
}
