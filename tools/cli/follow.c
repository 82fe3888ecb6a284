#include "tools/cli/follow.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define RECONNECTS_MAX 12
#define FIRST_PAUSE_MS 100
#define LONGEST_PAUSE_MS 4000

static int write_output(struct follow *follow, const Crownest__V1__LogOutput *output)
{
    bool to_stderr = output->stream == CROWNEST__V1__LOG_STREAM__LOG_STREAM_STDERR;
    FILE *out = to_stderr ? stderr : stdout;
    size_t skip = 0;

    /* A stream that was resumed may begin before what we have. */
    if (output->offset < follow->offset) {
        skip = (size_t)(follow->offset - output->offset);
        if (skip >= output->data.len)
            return 0;
    }
    follow->offset = output->offset + output->data.len;
    if (follow->escape)
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
    if (gap->to_offset <= follow->offset)
        return;
    follow->offset = gap->to_offset;
    fprintf(stderr, "crownest: bytes %" PRIu64 " to %" PRIu64 " of the log were not kept (",
            gap->from_offset, gap->to_offset);
    text_print(gap->reason, stderr);
    fputs(")\n", stderr);
}

static void take_exit(struct follow *follow, const Crownest__V1__CommandExited *exited)
{
    follow->exited = true;
    follow->exit_cause = exited->command->exit_cause;
    follow->exit_code = exited->command->exit_code;
    follow->exit_signal = exited->command->signal;
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

/* One connection. *ret_progress: whether anything came. */
static int read_once(struct follow *follow, bool *ret_progress, struct crownest_error *error)
{
    Crownest__V1__StreamLogsRequest request = CROWNEST__V1__STREAM_LOGS_REQUEST__INIT;
    Crownest__V1__StreamLogsResponse *message;
    struct crownest_command_stream_logs_reader *reader;

    request.command_id = follow->command_id;
    request.offset = follow->offset;
    request.follow = follow->until_exit;
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
    return result;
}

int follow_logs(struct follow *follow, struct crownest_error *ret_error)
{
    long pause_ms = FIRST_PAUSE_MS;

    for (int cuts = 0;;) {
        bool progress = false;
        int result = read_once(follow, &progress, ret_error);

        if (!result || follow->write_errno || !ret_error->retryable)
            return result;
        if (progress) {
            cuts = 0;
            pause_ms = FIRST_PAUSE_MS;
        }
        if (++cuts > RECONNECTS_MAX)
            return result;
        struct timespec pause = {.tv_sec = pause_ms / 1000, .tv_nsec = pause_ms % 1000 * 1000000};
        (void)nanosleep(&pause, NULL);
        pause_ms = pause_ms * 2 < LONGEST_PAUSE_MS ? pause_ms * 2 : LONGEST_PAUSE_MS;
    }
}
