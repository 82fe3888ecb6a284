/* Output of commands: from their pipes into their logs, on the loop's thread. */
#include "server/sandbox/command_private.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "server/util/clock.h"
#include "server/util/container_of.h"
#include "server/util/failpoint.h"
#include "server/util/limits.h"

#define DRAIN_BYTES_MAX (2U << 20) /* more than a pipe holds, so a pipe is drained within it */

static void output_close(struct output *output)
{
    if (!output->open)
        return;
    output->open = false;
    loop_remove(output->command->owner->options.loop, &output->source);
    (void)close(output->source.fd);
    output->source.fd = -1;
}

/* Moves what is there, at most one frame. Returns the bytes, 0 at the end, or a negative errno. */
static int64_t output_move(struct output *output)
{
    FAILPOINT("command.output.ready");
    /* What the log cannot keep it counts, and shows as a gap: the command is not stopped by it. */
    return log_splice(output->command->log, output->stream, clock_wall_us(), output->source.fd);
}

void command_output_ready(struct loop_source *source, uint32_t events)
{
    struct output *output = container_of(source, struct output, source);
    int64_t got = output_move(output);

    (void)events;
    if (got == 0 || (got < 0 && got != -EAGAIN))
        output_close(output);
}

/* Every writer is dead: what is left in the pipe is all there will be. */
static void output_drain(struct output *output)
{
    size_t total = 0;

    while (output->open && total < DRAIN_BYTES_MAX) {
        int64_t got = output_move(output);

        if (got <= 0)
            break;
        total += (size_t)got;
    }
    output_close(output);
}

void command_end(struct command *command)
{
    command->over = true;
    if (command->ended || !command->attached)
        return;
    command->ended = true;
    command->end_us = clock_wall_us();
    output_drain(&command->outputs[0]);
    FAILPOINT("command.output.drained");
    output_drain(&command->outputs[1]);
    /* The loop's reference goes to the job. */
    workers_submit(command->owner->workers, &command->finish_job);
}

/* On the loop's thread, which has it from here on. Its end may have been heard of before. */
void command_attach_run(struct loop_task *task)
{
    struct command *command = container_of(task, struct command, attach);

    for (size_t i = 0; i < 2; i++) {
        struct output *output = &command->outputs[i];

        /* A descriptor that cannot be waited for is no pipe: nest-init lies, and nothing is read.
         */
        output->open = output->source.fd >= 0 &&
                       loop_add(command->owner->options.loop, &output->source, EPOLLIN) == 0;
    }
    command->attached = true;
    if (command->over)
        command_end(command);
}
