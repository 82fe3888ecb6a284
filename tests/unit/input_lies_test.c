/* Input of a command whose nest-init lies about how much it took: the thread comes back in time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "server/sandbox/command_private.h"
#include "server/util/clock.h"

#define OFFSET 1000
#define BYTES 100000
#define STEP_MS 1000 /* that each answer takes */

/* --- what is played: the clock, the command, and its nest-init --- */

static struct command command = {.input_mutex = PTHREAD_MUTEX_INITIALIZER, .input = -1};
static uint64_t now_ms;
static unsigned int asked;
static bool sizes_fit;
static uint64_t (*lie)(uint64_t offset, size_t size);
static int error;

uint64_t clock_monotonic_ms(void)
{
    return now_ms;
}

struct command *command_running(struct commands *commands, const char *project_id, const char *id)
{
    (void)commands;
    (void)project_id;
    (void)id;
    return &command;
}

struct status command_not_running(struct commands *commands, const char *project_id, const char *id)
{
    (void)commands;
    (void)project_id;
    (void)id;
    return STATUS_OK_VALUE;
}

void command_unref(struct command *used)
{
    assert_ptr_equal(used, &command);
}

bool sandbox_is_paused(struct sandbox *sandbox)
{
    (void)sandbox;
    return false;
}

struct nest *sandbox_nest(struct sandbox *sandbox)
{
    (void)sandbox;
    return NULL;
}

int nest_input(struct nest *nest, uint64_t number, uint64_t offset, struct bytes data, bool close,
               uint64_t *ret_taken)
{
    (void)nest;
    (void)number;
    (void)close;
    asked++;
    now_ms += STEP_MS;
    sizes_fit = sizes_fit && offset >= OFFSET && data.size <= NEST_INPUT_MAX &&
                offset + data.size <= OFFSET + BYTES;
    *ret_taken = lie(offset, data.size);
    return error;
}

int nest_resize(struct nest *nest, uint64_t number, uint16_t rows, uint16_t columns)
{
    (void)nest;
    (void)number;
    (void)rows;
    (void)columns;
    return error;
}

int nest_signal(struct nest *nest, uint64_t number, int signo, uint64_t token)
{
    (void)nest;
    (void)number;
    (void)signo;
    (void)token;
    return error;
}

/* --- the lies --- */

static uint64_t all(uint64_t offset, size_t size)
{
    return offset + size;
}

static uint64_t none(uint64_t offset, size_t size)
{
    (void)size;
    return offset;
}

static uint64_t one_byte(uint64_t offset, size_t size)
{
    (void)size;
    return offset + 1;
}

static uint64_t more_than_was_sent(uint64_t offset, size_t size)
{
    return offset + size + 1;
}

static uint64_t beyond_all(uint64_t offset, size_t size)
{
    (void)offset;
    (void)size;
    return UINT64_MAX;
}

static struct status write_input(struct command_input_result *ret_result)
{
    static uint8_t data[BYTES];
    const struct command_input input = {
        .offset = OFFSET, .data = bytes_of(data, sizeof(data)), .close = true};
    int ends[2];

    now_ms = 0;
    asked = 0;
    sizes_fit = true;
    /* A pipe with room, as if the command read all the time. */
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    command.input = ends[1];
    struct status status = commands_input(NULL, "", "", &input, ret_result);

    if (command.input >= 0)
        (void)close(command.input);
    (void)close(ends[0]);
    assert_true(sizes_fit);
    return status;
}

static void input_ends_in_time_whatever_was_taken(void **state)
{
    static const struct {
        uint64_t (*lie)(uint64_t offset, size_t size);
        uint64_t taken;
        bool closed;
    } CASES[] = {
        {all, OFFSET + BYTES, true},    {none, OFFSET, false},
        {one_byte, OFFSET + 5, false},  {more_than_was_sent, OFFSET + BYTES + 1, true},
        {beyond_all, UINT64_MAX, true},
    };
    struct command_input_result result;

    (void)state;
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        lie = CASES[i].lie;
        struct status status = write_input(&result);

        assert_true(status_is_ok(&status));
        assert_int_equal(result.taken, CASES[i].taken);
        assert_int_equal(result.closed, CASES[i].closed);
        assert_true(asked <= 5);
    }
}

/* An error is one, whatever its number. */
static void errors_without_a_meaning_are_told_as_such(void **state)
{
    static const int ERRORS[] = {-EPROTO, -EBADMSG, -ECONNRESET, -4095, -1};
    struct command_input_result result;

    (void)state;
    lie = all;
    for (size_t i = 0; i < sizeof(ERRORS) / sizeof(ERRORS[0]); i++) {
        error = ERRORS[i];
        const struct status told[] = {write_input(&result), commands_resize(NULL, "", "", 1, 1),
                                      commands_signal(NULL, "", "", 9, 0)};

        for (size_t k = 0; k < 3; k++)
            assert_int_equal(told[k].code, STATUS_UNAVAILABLE);
    }
    error = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(input_ends_in_time_whatever_was_taken),
        cmocka_unit_test(errors_without_a_meaning_are_told_as_such),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
