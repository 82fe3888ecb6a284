#include "tools/cli/follow.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "server/util/clock.h"
#include "tools/cli/local_terminal.h"
#include "tools/cli/retry.h"

#define HEALTHY_MS 5000 /* a silent stream that lived so long was a good one */

void follow_escape(struct follow *follow, bool raw)
{
    follow->escape[0] = !raw && isatty(STDOUT_FILENO);
    follow->escape[1] = !raw && isatty(STDERR_FILENO);
}

static int write_output(struct follow *follow, const Crownest__V1__LogOutput *output)
{
    bool to_stderr = output->stream == CROWNEST__V1__LOG_STREAM__LOG_STREAM_STDERR;
    FILE *out = to_stderr ? stderr : stdout;
    size_t skip = 0;

    follow->positioned = true;
    /* A stream that was resumed may begin before what we have. */
    if (output->offset < follow->offset) {
        skip = (size_t)(follow->offset - output->offset);
        if (skip >= output->data.len)
            return 0;
    }
    follow->offset = output->offset + output->data.len;
    if (follow->discard)
        return 0;
    if (follow->escape[to_stderr])
        text_escape(&follow->escapers[to_stderr], output->data.data + skip, output->data.len - skip,
                    out);
    else
        (void)fwrite(output->data.data + skip, 1, output->data.len - skip, out);
    if (!fflush(out) && !ferror(out))
        return 0;
    follow->write_errno = errno ? errno : EIO;
    return -follow->write_errno;
}

static void report_gap(struct follow *follow, const Crownest__V1__LogGap *gap)
{
    const char *end = local_terminal_is_raw() ? "\r\n" : "\n";

    follow->positioned = true;
    if (gap->to_offset <= follow->offset)
        return;
    follow->offset = gap->to_offset;
    if (follow->discard)
        return;
    fprintf(stderr, "crownest: bytes %" PRIu64 " to %" PRIu64 " of the log were not kept (",
            gap->from_offset, gap->to_offset);
    text_print(gap->reason, stderr);
    fprintf(stderr, ")%s", end);
}

static void take_exit(struct follow *follow, const Crownest__V1__CommandExited *exited)
{
    follow->exited = true;
    follow->exit_cause = exited->command->exit_cause;
    follow->exit_code = exited->command->exit_code;
    follow->exit_signal = exited->command->signal;
    local_terminal_restore();
    text_escape_end(&follow->escapers[0], stdout);
    text_escape_end(&follow->escapers[1], stderr);
    if (follow->quiet)
        return;
    for (size_t i = 0; i < exited->n_artifacts; i++) {
        fprintf(stderr, "crownest: artifact %s ", exited->artifacts[i]->artifact_id);
        text_print(exited->artifacts[i]->name, stderr);
        fprintf(stderr, " (%" PRIu64 " bytes)\n", exited->artifacts[i]->size_bytes);
    }
    for (size_t i = 0; i < exited->n_collect_failures; i++) {
        fputs("crownest: not collected: ", stderr);
        text_print(exited->collect_failures[i]->path, stderr);
        fputs(": ", stderr);
        text_print(exited->collect_failures[i]->message, stderr);
        fputc('\n', stderr);
    }
}

int follow_event(struct follow *follow, const Crownest__V1__CommandEvent *event)
{
    follow->heard = true;
    if (!event)
        return 0;
    switch (event->event_case) {
    case CROWNEST__V1__COMMAND_EVENT__EVENT_STARTED:
        (void)snprintf(follow->command_id, sizeof(follow->command_id), "%s",
                       event->started->command->command_id);
        return 0;
    case CROWNEST__V1__COMMAND_EVENT__EVENT_OUTPUT:
        return write_output(follow, event->output);
    case CROWNEST__V1__COMMAND_EVENT__EVENT_GAP:
        report_gap(follow, event->gap);
        return 0;
    case CROWNEST__V1__COMMAND_EVENT__EVENT_EXITED:
        take_exit(follow, event->exited);
        return 0;
    default:
        return 0; /* an event of a newer server */
    }
}

/* One connection. *ret_progress: whether anything came, or for long could have come. */
static int read_once(struct follow *follow, bool *ret_progress, struct crownest_error *error)
{
    uint64_t began = clock_monotonic_ms();
    Crownest__V1__StreamLogsRequest request = CROWNEST__V1__STREAM_LOGS_REQUEST__INIT;
    Crownest__V1__StreamLogsResponse *message;
    struct crownest_command_stream_logs_reader *reader;

    request.command_id = follow->command_id;
    request.follow = follow->until_exit;
    request.stream = follow->stream;
    if (follow->discard && follow->until_exit)
        request.tail_bytes = 1;
    else if (follow->tail_lines && !follow->positioned)
        request.tail_lines = (uint32_t)follow->tail_lines;
    else
        request.offset = follow->offset;
    int result = crownest_command_stream_logs_open(follow->client, &request, NULL, &reader, error);
    if (result)
        return result;
    while ((result = crownest_command_stream_logs_next(reader, &message, error)) > 0) {
        int written = follow_event(follow, message->event);

        *ret_progress = true;
        crownest__v1__stream_logs_response__free_unpacked(message, NULL);
        if (written) {
            result = written;
            break;
        }
    }
    crownest_command_stream_logs_free(reader);
    *ret_progress = *ret_progress || clock_monotonic_ms() - began >= HEALTHY_MS;
    return result;
}

/* A stream that ended well though the command has not ended is a cut like another. */
static int complete(const struct follow *follow, int result, struct crownest_error *error)
{
    if (result || !follow->until_exit || follow->exited)
        return result;
    *error = (struct crownest_error){.retryable = true,
                                     .message = "the stream ended before the command did"};
    return -EPROTO;
}

int follow_logs(struct follow *follow, struct crownest_error *ret_error)
{
    struct retry retry = RETRY(RETRY_WINDOW_MS);

    for (;;) {
        bool progress = false;
        int result = complete(follow, read_once(follow, &progress, ret_error), ret_error);

        if (!result || follow->write_errno)
            return result;
        follow->heard = follow->heard || progress;
        if (progress)
            retry_reset(&retry);
        retry.window_ms = follow->heard ? RETRY_WINDOW_MS : RETRY_FIRST_CONTACT_MS;
        if (!retry_again(&retry, ret_error))
            return result;
    }
}

int follow_exit_code(const struct follow *follow, const struct command *command)
{
    const ProtobufCEnumValue *cause = protobuf_c_enum_descriptor_get_value(
        &crownest__v1__exit_cause__descriptor, (int)follow->exit_cause);

    switch (follow->exit_cause) {
    case CROWNEST__V1__EXIT_CAUSE__EXIT_CAUSE_EXITED:
        return follow->exit_code & 0xff;
    case CROWNEST__V1__EXIT_CAUSE__EXIT_CAUSE_SIGNALED:
        return EXIT_SIGNALED + follow->exit_signal;
    case CROWNEST__V1__EXIT_CAUSE__EXIT_CAUSE_TIMEOUT:
        fprintf(stderr, "crownest %s: the command's timeout passed\n", command->name);
        return EXIT_TIMED_OUT;
    default:
        fprintf(stderr, "crownest %s: the command ended: %s\n", command->name,
                cause ? cause->name + sizeof("EXIT_CAUSE_") - 1 : "for a reason unknown here");
        return EXIT_OURS;
    }
}
