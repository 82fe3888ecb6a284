/*
 * Input and output pipes in the hands of an attacker: what he does with his ends of them costs
 * nest-init no wait and the server no count, and the command comes to its end.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/jail/box.h"

/* What perl has no name for; the numbers are those of every architecture. */
#define SET_PIPE_SIZE "1031"

static int fds[3];
static char data[NEST_INPUT_MAX];

static int create_box_and_data(void **state)
{
    jail_create(*state, &box);
    memset(data, 'x', sizeof(data));
    return 0;
}

static void await(const char *text)
{
    char said[64] = {0};
    struct pollfd wait = {.fd = fds[0], .events = POLLIN};
    assert_int_equal(poll(&wait, 1, JAIL_TIMEOUT_MS), 1);
    assert_true(read(fds[0], said, strlen(text)) > 0);
    assert_string_equal(said, text);
}

/* Perl that says "up" when it has done its worst. */
static uint64_t start(const char *worst)
{
    char script[1024];
    (void)snprintf(script, sizeof(script), "use Fcntl; $| = 1; %s", worst);
    const char *const argv[] = {"perl", "-e", script, NULL};
    struct nest_reply reply = jail_spawn(&box, NEST_USER, "/workspace", argv, fds);
    assert_int_equal(reply.error, 0);
    await("up");
    return reply.command;
}

static void kill_command(uint64_t command)
{
    struct nest_request request = {.op = NEST_KILL, .command = command};
    struct nest_reply reply;
    int none[3];
    jail_nest_send(&box, &request, NEST_HEADER_SIZE, -1);
    (void)jail_nest_receive(&box, &reply, none);
    assert_int_equal(reply.error, 0);
    jail_wait(&box, command, &run);
    assert_true(WIFSIGNALED(run.wait_status));
    for (int i = 0; i < 3; i++) {
        close(fds[i]);
    }
}

static uint64_t put(uint64_t command, uint64_t offset, size_t size)
{
    struct nest_reply reply = jail_input(&box, command, offset, data, size, false);
    assert_int_equal(reply.error, 0);
    return reply.size_bytes;
}

static void input_that_the_command_fills_itself_takes_no_more(void **state)
{
    uint64_t command =
        start("open W, '>', '/proc/self/fd/0'; fcntl(W, F_SETFL, O_NONBLOCK | O_WRONLY); "
              "1 while syswrite(W, 'y' x 4096); print 'up'; sleep 1000");
    (void)state;
    assert_int_equal(put(command, 0, 1000), 0);
    assert_int_equal(jail_input(&box, command, 0, "", 0, true).error, 0);
    kill_command(command);
}

/* It is its own writer now, so to itself its input has no end; to us it has. */
static void input_with_another_writer_can_be_closed(void **state)
{
    uint64_t command = start("open W, '>', '/proc/self/fd/0'; print 'up'; 1 while <STDIN>");
    (void)state;
    assert_int_equal(put(command, 0, 1000), 1000);
    assert_int_equal(jail_input(&box, command, 1000, "", 0, true).error, 0);
    assert_int_equal(jail_input(&box, command, 1000, "x", 1, false).error, -EPIPE);
    kill_command(command);
}

static void a_small_pipe_takes_what_fits(void **state)
{
    uint64_t command = start("fcntl(STDIN, " SET_PIPE_SIZE ", 1); print 'up'; sleep 1000");
    (void)state;
    assert_int_equal(put(command, 0, sizeof(data)), 4096);
    assert_int_equal(put(command, 4096, 1), 4096);
    kill_command(command);
}

/* A mebibyte is what the kernel lets anybody have. */
static void a_large_pipe_takes_no_more_than_it_may(void **state)
{
    uint64_t command = start("fcntl(STDIN, " SET_PIPE_SIZE ", 1 << 30); fcntl(STDIN, " SET_PIPE_SIZE
                             ", 1 << 20); print 'up'; sleep 1000");
    uint64_t offset = 0;
    uint64_t taken;
    (void)state;
    while ((taken = put(command, offset, sizeof(data))) > offset) {
        offset = taken;
        assert_in_range(offset, 1, 1 << 20);
    }
    kill_command(command);
}

/* Flags are those of an open file: ours is another one than that of the command. */
static void flags_of_the_commands_end_are_its_own(void **state)
{
    uint64_t command =
        start("fcntl(STDIN, F_SETFL, 040000); fcntl(STDOUT, F_SETFL, 040000 | O_NONBLOCK); "
              "open W, '>', '/proc/self/fd/0'; fcntl(W, F_SETFL, 0); print 'up'; sleep 1000");
    (void)state;
    assert_true((fcntl(fds[2], F_GETFL) & O_NONBLOCK) != 0);
    uint64_t offset = 0;
    uint64_t taken;
    while ((taken = put(command, offset, sizeof(data))) > offset) {
        offset = taken;
    }
    kill_command(command);
}

/* Each write is a packet, of which a reader with less room would lose the rest. */
static void output_in_packets_is_whole(void **state)
{
    static char got[65536];
    uint64_t command =
        start("print 'up'; <STDIN>; fcntl(STDOUT, F_SETFL, 040000); "
              "syswrite(STDOUT, 'a' x 4096), syswrite(STDOUT, 'b' x 10) for 1..3; sleep 1000");
    size_t length = 0;
    (void)state;
    assert_int_equal(jail_input(&box, command, 0, "\n", 1, false).error, 0);
    while (length < 3 * 4106U) {
        ssize_t more = read(fds[0], got + length, sizeof(got) - length);
        assert_true(more > 0);
        length += (size_t)more;
    }
    assert_int_equal(length, 3 * 4106);
    for (size_t i = 0; i < length; i++) {
        assert_int_equal(got[i], i % 4106 < 4096 ? 'a' : 'b');
    }
    kill_command(command);
}

/* What it takes back out of the pipe never was output; nobody waits for it. */
static void output_that_the_command_steals_is_its_loss(void **state)
{
    char done = 0;
    int pending = -1;
    uint64_t command = start("print 'up'; <STDIN>; open R, '<', '/proc/self/fd/1'; "
                             "syswrite(STDOUT, 'x' x 1000); sysread(R, $x, 1000); "
                             "syswrite(STDERR, 'd'); sleep 1000");
    (void)state;
    assert_int_equal(jail_input(&box, command, 0, "\n", 1, false).error, 0);
    assert_int_equal(read(fds[1], &done, 1), 1);
    assert_int_equal(ioctl(fds[0], FIONREAD, &pending), 0);
    assert_int_equal(pending, 0);
    kill_command(command);
}

/* To be owner of a pipe is to get signals of it, which the kernel sends by the owner's rights. */
static void signals_of_pipes_go_to_nobody_else(void **state)
{
    uint64_t command = start("for (*STDIN, *STDOUT) { fcntl($_, 8, 1); fcntl($_, 10, 9); "
                             "fcntl($_, F_SETFL, 020000) } print 'up'; sleep 1000");
    (void)state;
    assert_int_equal(put(command, 0, 100), 100);
    jail_shell(&box, "echo init lives", &run);
    assert_string_equal(run.out, "init lives\n");
    kill_command(command);
}

/* A lease holds up whoever opens the file; nest-init's worker does not wait for it. */
static void leases_hold_up_no_reader(void **state)
{
    int fd = -1;
    uint64_t command = start("open F, '>', '/workspace/leased'; print F 'x' x 10; close F; "
                             "open F, '+<', '/workspace/leased'; $SIG{IO} = 'IGNORE'; "
                             "fcntl(F, 1024, 1); print 'up'; sleep 1000");
    (void)state;
    struct nest_reply reply = jail_file(&box, NEST_READ, "leased", 0, -1, &fd);
    assert_true(reply.error == 0 || reply.error == -EAGAIN);
    if (fd >= 0) {
        close(fd);
    }
    kill_command(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, create_box_and_data, kill_box)
        TEST(input_that_the_command_fills_itself_takes_no_more),
        TEST(input_with_another_writer_can_be_closed),
        TEST(a_small_pipe_takes_what_fits),
        TEST(a_large_pipe_takes_no_more_than_it_may),
        TEST(flags_of_the_commands_end_are_its_own),
        TEST(output_in_packets_is_whole),
        TEST(output_that_the_command_steals_is_its_loss),
        TEST(signals_of_pipes_go_to_nobody_else),
        TEST(leases_hold_up_no_reader),
    };
    return fixture_main(tests);
}
