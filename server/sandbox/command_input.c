/* What clients do to a command that runs: its input, its terminal, signals. */
#include "server/sandbox/command_private.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>

#include "server/util/cleanup.h"
#include "server/util/clock.h"

#define INPUT_WAIT_MS 5000

/* What nest-init's answer is to a client. */
static struct status refused(int error, const char *what)
{
    if (error == -ESRCH)
        return status_at(status_error(STATUS_FAILED_PRECONDITION, "COMMAND_NOT_RUNNING",
                                      "the command has ended"),
                         "command_id");
    return status_unsure("SANDBOX_SILENT", "%s: the sandbox does not answer: %s", what,
                         strerror(-error));
}

/* A command that can be reached, referenced. */
static struct status find_reachable(struct commands *commands, const char *project_id,
                                    const char *id, struct command **ret_command)
{
    struct command *command = command_running(commands, project_id, id);

    if (!command)
        return command_not_running(commands, project_id, id);
    if (sandbox_is_paused(command->sandbox)) {
        command_unref(command);
        return status_at(status_error(STATUS_FAILED_PRECONDITION, "SANDBOX_PAUSED",
                                      "its sandbox is paused; resume it first"),
                         "command_id");
    }
    *ret_command = command;
    return STATUS_OK_VALUE;
}

/*
 * Until there is room, or nobody is left to make any; at once if the last request has got on. Holds
 * input_mutex. The deadline is that of all requests together: were it not, a byte now and then
 * would hold the thread for ever.
 */
static bool may_go_on(const struct command *command, bool got_on, uint64_t deadline_ms)
{
    struct pollfd room = {.fd = command->input, .events = POLLOUT};
    uint64_t now = clock_monotonic_ms();

    if (now >= deadline_ms)
        return false;
    return got_on || (command->input >= 0 && poll(&room, 1, (int)(deadline_ms - now)) > 0);
}

static struct status input_refused(int error, uint64_t taken)
{
    if (error == -ERANGE)
        return status_at(status_error(STATUS_OUT_OF_RANGE, "INPUT_OFFSET_GAP",
                                      "only %llu bytes of input were taken so far",
                                      (unsigned long long)taken),
                         "offset");
    if (error == -EPIPE)
        return status_at(status_error(STATUS_FAILED_PRECONDITION, "INPUT_CLOSED",
                                      "the command's input is closed, or was never open"),
                         "command_id");
    return refused(error, "input");
}

/* Holds input_mutex. */
static struct status write_parts(struct command *command, const struct command_input *input,
                                 struct command_input_result *ret_result)
{
    uint64_t deadline_ms = clock_monotonic_ms() + INPUT_WAIT_MS;
    uint64_t end = input->offset + input->data.size;
    uint64_t at = input->offset;

    for (;;) {
        size_t left = (size_t)(end - at);
        size_t size = left < NEST_INPUT_MAX ? left : NEST_INPUT_MAX;
        bool close_now = input->close && size == left;
        uint64_t taken = 0;
        int r =
            nest_input(sandbox_nest(command->sandbox), command->number, at,
                       bytes_of(input->data.data + (at - input->offset), size), close_now, &taken);

        if (r < 0)
            return input_refused(r, taken);
        bool got_on = taken > at;

        at = taken < end ? taken : end;
        ret_result->taken = taken;
        ret_result->closed = close_now && at == end;
        /* All of it may have been taken before, and only the end be left to say. */
        if ((at == end && ret_result->closed == input->close) ||
            !may_go_on(command, got_on, deadline_ms))
            return STATUS_OK_VALUE;
    }
}

struct status commands_input(struct commands *commands, const char *project_id, const char *id,
                             const struct command_input *input,
                             struct command_input_result *ret_result)
{
    struct command *command;
    struct status status = find_reachable(commands, project_id, id, &command);

    if (!status_is_ok(&status))
        return status;
    *ret_result = (struct command_input_result){0};
    (void)pthread_mutex_lock(&command->input_mutex);
    status = write_parts(command, input, ret_result);
    /* Input ends when the last writer's end is closed, and this is one. */
    if (ret_result->closed && command->input >= 0) {
        (void)close(command->input);
        command->input = -1;
    }
    (void)pthread_mutex_unlock(&command->input_mutex);
    command_unref(command);
    return status;
}

struct status commands_resize(struct commands *commands, const char *project_id, const char *id,
                              uint16_t rows, uint16_t columns)
{
    struct command *command;
    struct status status = find_reachable(commands, project_id, id, &command);

    if (!status_is_ok(&status))
        return status;
    int r = nest_resize(sandbox_nest(command->sandbox), command->number, rows, columns);

    command_unref(command);
    if (r == -ENOTTY)
        return status_at(status_error(STATUS_FAILED_PRECONDITION, "NOT_A_TERMINAL",
                                      "the command was started without a terminal"),
                         "command_id");
    return r < 0 ? refused(r, "resize") : STATUS_OK_VALUE;
}

struct status commands_signal(struct commands *commands, const char *project_id, const char *id,
                              int signal_number, uint64_t token)
{
    struct command *command;
    struct status status = find_reachable(commands, project_id, id, &command);

    if (!status_is_ok(&status))
        return status;
    int r = nest_signal(sandbox_nest(command->sandbox), command->number, signal_number, token);

    command_unref(command);
    return r < 0 ? refused(r, "signal") : STATUS_OK_VALUE;
}
