#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "server/log/log.h"
#include "server/service/allowance.h"
#include "server/service/check.h"
#include "server/service/page.h"
#include "server/service/service.h"
#include "server/util/limits.h"
#include "server/util/prototime.h"

#define WAIT_DEFAULT_MS 30000

/* A stream of a command's events: a cursor over its log, and what comes before and after it. */
struct event_stream {
    struct commands *commands;
    char project_id[ID_SIZE];
    char command_id[ID_SIZE];
    struct log *log;
    struct log_reader *reader;
    struct rpc_waker *waker;
    bool announce; /* `started` comes first */
    bool follow;
    bool over;   /* its end was recorded, even if a full disk kept it from its log */
    bool exited; /* `exited` was sent */
};

static void event_stream_wake(void *waker)
{
    rpc_waker_wake(waker);
}

static void event_stream_close(void *state)
{
    struct event_stream *stream = state;

    log_reader_free(stream->reader);
    log_unref(stream->log);
    rpc_waker_unref(stream->waker);
    free(stream);
}

/* Where a stream begins. */
struct log_start {
    uint64_t offset;
    enum log_stream stream; /* 0: both */
    uint64_t tail_bytes;    /* 0: no such bound */
    unsigned tail_lines;    /* 0: no such bound */
};

/* What the tail leaves of it. */
static struct status find_start(struct log *log, const struct log_start *start,
                                uint64_t *ret_offset)
{
    uint64_t size = log_size(log);
    uint64_t lines = 0;

    *ret_offset = start->tail_bytes || start->tail_lines ? 0 : start->offset;
    if (start->tail_bytes && size > start->tail_bytes)
        *ret_offset = size - start->tail_bytes;
    if (start->tail_lines && log_tail_lines(log, start->tail_lines, start->stream, &lines) < 0)
        return status_error(STATUS_DATA_LOSS, "LOG_DAMAGED", "the log cannot be read to its end");
    if (lines > *ret_offset)
        *ret_offset = lines;
    return STATUS_OK_VALUE;
}

/* Opens the stream's log and puts a cursor into it. */
static struct status event_stream_start(struct event_stream *stream, struct arena *arena,
                                        const struct log_start *start)
{
    uint64_t offset;
    struct status status =
        commands_log(stream->commands, stream->project_id, stream->command_id, arena, &stream->log);

    if (status_is_ok(&status))
        status = find_start(stream->log, start, &offset);
    if (!status_is_ok(&status))
        return status;
    if (log_reader_new(stream->log, offset, event_stream_wake, stream->waker, &stream->reader) < 0)
        return status_at(status_error(STATUS_OUT_OF_RANGE, "OFFSET_BEYOND_END",
                                      "the log has %llu bytes",
                                      (unsigned long long)log_size(stream->log)),
                         "offset");
    log_reader_choose(stream->reader, start->stream);
    return STATUS_OK_VALUE;
}

static struct status event_stream_open(struct rpc_call *call, const char *command_id,
                                       const struct log_start *start,
                                       struct event_stream **ret_stream)
{
    struct service *service = service_of(call);
    const char *project_id = rpc_call_caller(call)->project_id;
    Crownest__Records__CommandRecord *record;
    struct status status =
        commands_get(service->commands, project_id, command_id, rpc_call_arena(call), &record);

    if (!status_is_ok(&status))
        return status;
    struct event_stream *stream = calloc(1, sizeof(*stream));

    if (!stream)
        abort();
    stream->commands = service->commands;
    memcpy(stream->project_id, project_id, strlen(project_id) + 1);
    memcpy(stream->command_id, command_id, strlen(command_id) + 1);
    stream->over = record->command->end_time != NULL;
    stream->waker = rpc_call_waker(call);
    status = event_stream_start(stream, rpc_call_arena(call), start);
    if (!status_is_ok(&status)) {
        event_stream_close(stream);
        return status;
    }
    *ret_stream = stream;
    return STATUS_OK_VALUE;
}

static Crownest__V1__CommandEvent *event_new(struct arena *arena)
{
    Crownest__V1__CommandEvent *event = arena_alloc(arena, sizeof(*event));

    crownest__v1__command_event__init(event);
    return event;
}

static const char *gap_reason(enum log_gap_reason reason)
{
    switch (reason) {
    case LOG_GAP_DISK_FULL:
        return "DISK_FULL";
    case LOG_GAP_IO_ERROR:
        return "IO_ERROR";
    default:
        return "LOG_LIMIT";
    }
}

static Crownest__V1__CommandEvent *frame_event(const struct log_frame *frame, struct arena *arena)
{
    Crownest__V1__CommandEvent *event = event_new(arena);

    if (frame->stream == LOG_GAP) {
        event->event_case = CROWNEST__V1__COMMAND_EVENT__EVENT_GAP;
        event->gap = arena_alloc(arena, sizeof(*event->gap));
        crownest__v1__log_gap__init(event->gap);
        event->gap->from_offset = frame->offset;
        event->gap->to_offset = frame->gap_end;
        event->gap->reason = arena_strdup(arena, gap_reason(frame->gap_reason));
        return event;
    }
    event->event_case = CROWNEST__V1__COMMAND_EVENT__EVENT_OUTPUT;
    event->output = arena_alloc(arena, sizeof(*event->output));
    crownest__v1__log_output__init(event->output);
    event->output->offset = frame->offset;
    event->output->stream = frame->stream == LOG_STDOUT
                                ? CROWNEST__V1__LOG_STREAM__LOG_STREAM_STDOUT
                                : CROWNEST__V1__LOG_STREAM__LOG_STREAM_STDERR;
    event->output->time = prototime_from_us(arena, frame->time_us);
    event->output->data = (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)frame->payload.data,
                                                .len = frame->payload.size};
    return event;
}

/* `started` or `exited`, from the command's record. */
static struct status record_event(const struct event_stream *stream, bool exited,
                                  struct arena *arena, Crownest__V1__CommandEvent **ret_event)
{
    Crownest__Records__CommandRecord *record;
    struct status status =
        commands_get(stream->commands, stream->project_id, stream->command_id, arena, &record);
    Crownest__V1__CommandEvent *event = event_new(arena);

    if (!status_is_ok(&status))
        return status;
    if (exited && !record->command->end_time)
        return status_unavailable("STORE_FAILED", "the command's end is not recorded; try again");
    if (!exited) {
        event->event_case = CROWNEST__V1__COMMAND_EVENT__EVENT_STARTED;
        event->started = arena_alloc(arena, sizeof(*event->started));
        crownest__v1__command_started__init(event->started);
        event->started->command = record->command;
    } else {
        event->event_case = CROWNEST__V1__COMMAND_EVENT__EVENT_EXITED;
        event->exited = arena_alloc(arena, sizeof(*event->exited));
        crownest__v1__command_exited__init(event->exited);
        event->exited->command = record->command;
        event->exited->artifacts = record->artifacts;
        event->exited->n_artifacts = record->n_artifacts;
        event->exited->collect_failures = record->collect_failures;
        event->exited->n_collect_failures = record->n_collect_failures;
    }
    *ret_event = event;
    return STATUS_OK_VALUE;
}

static enum rpc_pull pull_record(struct event_stream *stream, bool exited, struct arena *arena,
                                 Crownest__V1__CommandEvent **ret_event, struct status *ret_status)
{
    *ret_status = record_event(stream, exited, arena, ret_event);
    return status_is_ok(ret_status) ? RPC_PULL_MESSAGE : RPC_PULL_END;
}

static enum rpc_pull event_stream_pull(struct event_stream *stream, struct arena *arena,
                                       Crownest__V1__CommandEvent **ret_event,
                                       struct status *ret_status)
{
    struct log_frame frame;

    *ret_status = STATUS_OK_VALUE;
    if (stream->exited)
        return RPC_PULL_END;
    if (stream->announce) {
        stream->announce = false;
        return pull_record(stream, false, arena, ret_event, ret_status);
    }
    /* Asked before the log is read: what is written in between is found by the next pull. */
    bool over = stream->over || log_ended(stream->log);
    int r = log_reader_next(stream->reader, &frame);

    /* Much of the other stream: first those that share this thread, then the rest. */
    if (r == -EAGAIN) {
        rpc_waker_wake(stream->waker);
        return RPC_PULL_WAIT;
    }
    if (r > 0) {
        *ret_event = frame_event(&frame, arena);
        return RPC_PULL_MESSAGE;
    }
    if (r < 0) {
        *ret_status =
            status_error(STATUS_DATA_LOSS, "LOG_DAMAGED", "the log cannot be read further");
        return RPC_PULL_END;
    }
    if (over) {
        stream->exited = true;
        return pull_record(stream, true, arena, ret_event, ret_status);
    }
    return stream->follow ? RPC_PULL_WAIT : RPC_PULL_END;
}

static void keep_command(void *arg, struct store_batch *batch, const Crownest__V1__Command *command)
{
    answer_keep_id(arg, batch, command->command_id);
}

static void forget_command(void *arg, struct store_batch *batch)
{
    answer_forget(arg, batch);
}

/* Starts the command, or finds the one that an earlier try of the same request has started. */
static struct status start(struct rpc_call *call, const char *request_id,
                           const Crownest__V1__CommandSpec *asked, char ret_id[ID_SIZE])
{
    struct service *service = service_of(call);
    Crownest__Records__CommandRecord *record;
    struct answer answer;
    struct audit_actor by = service_actor(call);
    struct command_commit commit = {
        .by = &by, .add = keep_command, .take_back = forget_command, .arg = &answer};
    struct sandbox *sandbox = NULL;
    struct status status = check_command(asked, rpc_call_arena(call), &record);

    if (status_is_ok(&status))
        status = answer_begin(service->answers, call, request_id, &answer);
    if (!status_is_ok(&status))
        return status;
    const char *id = answer.kept ? answer.kept->resource_id : NULL;

    if (!id && record->n_collect > 0)
        status = status_at(allowance_artifacts(call), "command.collect");
    if (!id && status_is_ok(&status)) {
        status = sandboxes_running(service->sandboxes, rpc_call_caller(call)->project_id,
                                   asked->sandbox_id, &sandbox);
        if (status_is_ok(&status))
            status =
                commands_start(service->commands, sandbox, record, &commit, rpc_call_arena(call));
        else
            status = status_at(status, "command.sandbox_id");
        sandbox_unref(sandbox);
        id = record->command->command_id;
    }
    answer_end(&answer);
    allowance_tell(call, QUOTA_COMMANDS);
    if (status_is_ok(&status))
        (void)snprintf(ret_id, ID_SIZE, "%s", id);
    return status;
}

static struct status run_open(struct rpc_call *call, const void *request, void **ret_state)
{
    const Crownest__V1__RunCommandRequest *run = request;
    struct event_stream *stream;
    char id[ID_SIZE];
    struct status status = service_answer(call, start(call, run->request_id, run->command, id));

    if (status_is_ok(&status))
        status = event_stream_open(call, id, &(struct log_start){0}, &stream);
    if (!status_is_ok(&status))
        return status;
    stream->announce = true;
    stream->follow = true;
    *ret_state = stream;
    return status;
}

static enum rpc_pull run_pull(struct rpc_call *call, void *state, void *response,
                              struct status *ret_status)
{
    Crownest__V1__RunCommandResponse *message = response;

    return event_stream_pull(state, rpc_call_arena(call), &message->event, ret_status);
}

const struct rpc_server_stream_ops service_command_run = {
    .open = run_open, .pull = run_pull, .close = event_stream_close};

static enum log_stream log_stream_of(Crownest__V1__LogStream stream)
{
    switch (stream) {
    case CROWNEST__V1__LOG_STREAM__LOG_STREAM_STDOUT:
        return LOG_STDOUT;
    case CROWNEST__V1__LOG_STREAM__LOG_STREAM_STDERR:
        return LOG_STDERR;
    default:
        return 0;
    }
}

static struct status logs_open(struct rpc_call *call, const void *request, void **ret_state)
{
    const Crownest__V1__StreamLogsRequest *asked = request;
    const struct log_start start = {.offset = asked->offset,
                                    .stream = log_stream_of(asked->stream),
                                    .tail_bytes = asked->tail_bytes,
                                    .tail_lines = asked->tail_lines};
    struct event_stream *stream;

    if (asked->tail_lines > LOG_TAIL_LINES)
        return status_invalid("tail_lines", "TAIL_INVALID", "at most %d lines", LOG_TAIL_LINES);
    struct status status = event_stream_open(call, asked->command_id, &start, &stream);

    if (!status_is_ok(&status))
        return status;
    stream->follow = asked->follow;
    *ret_state = stream;
    return status;
}

static enum rpc_pull logs_pull(struct rpc_call *call, void *state, void *response,
                               struct status *ret_status)
{
    Crownest__V1__StreamLogsResponse *message = response;

    return event_stream_pull(state, rpc_call_arena(call), &message->event, ret_status);
}

const struct rpc_server_stream_ops service_command_stream_logs = {
    .open = logs_open, .pull = logs_pull, .close = event_stream_close};

static struct status read_command(struct rpc_call *call, const char *id,
                                  Crownest__V1__Command **ret_command)
{
    Crownest__Records__CommandRecord *record;
    struct status status =
        commands_get(service_of(call)->commands, rpc_call_caller(call)->project_id, id,
                     rpc_call_arena(call), &record);

    if (status_is_ok(&status))
        *ret_command = record->command;
    return status;
}

struct status service_command_start(struct rpc_call *call,
                                    const Crownest__V1__StartCommandRequest *request,
                                    Crownest__V1__StartCommandResponse *response)
{
    char id[ID_SIZE];
    struct status status = start(call, request->request_id, request->command, id);

    return status_is_ok(&status) ? read_command(call, id, &response->command) : status;
}

struct status service_command_get(struct rpc_call *call,
                                  const Crownest__V1__GetCommandRequest *request,
                                  Crownest__V1__GetCommandResponse *response)
{
    return read_command(call, request->command_id, &response->command);
}

struct status service_command_cancel(struct rpc_call *call,
                                     const Crownest__V1__CancelCommandRequest *request,
                                     Crownest__V1__CancelCommandResponse *response)
{
    struct audit_actor by = service_actor(call);
    struct status status = commands_cancel(
        service_of(call)->commands, rpc_call_caller(call)->project_id, request->command_id, &by);

    return status_is_ok(&status) ? read_command(call, request->command_id, &response->command)
                                 : status;
}

struct status service_command_write_stdin(struct rpc_call *call,
                                          const Crownest__V1__WriteStdinRequest *request,
                                          Crownest__V1__WriteStdinResponse *response)
{
    const struct command_input input = {.offset = request->offset,
                                        .data = bytes_of(request->data.data, request->data.len),
                                        .close = request->close};
    struct command_input_result result = {0};

    if (request->data.len > LIMIT_INPUT_BYTES)
        return status_invalid("data", "INPUT_TOO_LARGE", "at most %u bytes in one request",
                              LIMIT_INPUT_BYTES);
    if (request->offset > UINT64_MAX - request->data.len)
        return status_invalid("offset", "OFFSET_INVALID", "no input is that long");
    struct status status =
        commands_input(service_of(call)->commands, rpc_call_caller(call)->project_id,
                       request->command_id, &input, &result);

    response->offset = result.taken;
    response->closed = result.closed;
    return status;
}

struct status service_command_resize(struct rpc_call *call,
                                     const Crownest__V1__ResizeCommandRequest *request,
                                     Crownest__V1__ResizeCommandResponse *response)
{
    uint32_t rows;
    uint32_t columns;

    if (!request->terminal)
        return status_invalid("terminal", "TERMINAL_INVALID", "the request holds no size");
    struct status status = check_terminal(request->terminal, "terminal", &rows, &columns);

    if (status_is_ok(&status))
        status = commands_resize(service_of(call)->commands, rpc_call_caller(call)->project_id,
                                 request->command_id, (uint16_t)rows, (uint16_t)columns);
    return status_is_ok(&status) ? read_command(call, request->command_id, &response->command)
                                 : status;
}

static struct status write_signal(const struct rpc_call *call, const struct answer *answer,
                                  const Crownest__V1__SignalCommandResponse *response, int number)
{
    struct audit_actor by = service_actor(call);
    struct audit_entry entry = command_entry(response->command, "command.signal", &by);
    char detail[32];

    (void)snprintf(detail, sizeof(detail), "signal %d", number);
    entry.detail = detail;
    return answer_write(answer, service_of(call)->store, &response->base, &entry);
}

struct status service_command_signal(struct rpc_call *call,
                                     const Crownest__V1__SignalCommandRequest *request,
                                     Crownest__V1__SignalCommandResponse *response)
{
    struct service *service = service_of(call);
    struct answer answer;

    if (request->signal < 1 || request->signal > SIGRTMAX)
        return status_invalid("signal", "SIGNAL_INVALID", "a signal is from 1 to %d", SIGRTMAX);
    struct status status = answer_begin(service->answers, call, request->request_id, &answer);

    if (!status_is_ok(&status))
        return status;
    if (answer.kept) {
        status = answer_again(&answer, rpc_call_arena(call), response);
    } else {
        status = commands_signal(service->commands, rpc_call_caller(call)->project_id,
                                 request->command_id, request->signal, answer_token(&answer));
        if (status_is_ok(&status))
            status = read_command(call, request->command_id, &response->command);
        if (status_is_ok(&status))
            status = write_signal(call, &answer, response, (int)request->signal);
    }
    answer_end(&answer);
    return status;
}

struct status service_command_wait(struct rpc_call *call,
                                   const Crownest__V1__WaitCommandRequest *request,
                                   Crownest__V1__WaitCommandResponse *response)
{
    uint64_t timeout_ms = WAIT_DEFAULT_MS;

    if (request->timeout &&
        protoduration_ms(request->timeout, LIMIT_WAIT_S * 1000ULL, &timeout_ms) < 0)
        return status_invalid("timeout", "TIMEOUT_INVALID",
                              "a timeout is more than 0 and at most %d seconds", LIMIT_WAIT_S);
    struct status status = read_command(call, request->command_id, &response->command);

    if (!status_is_ok(&status) || response->command->end_time)
        return status;
    commands_wait(service_of(call)->commands, request->command_id, (unsigned)timeout_ms);
    return read_command(call, request->command_id, &response->command);
}

struct status service_command_list(struct rpc_call *call,
                                   const Crownest__V1__ListCommandsRequest *request,
                                   Crownest__V1__ListCommandsResponse *response)
{
    const char *project_id = rpc_call_caller(call)->project_id;
    struct service *service = service_of(call);
    Crownest__V1__Sandbox *sandbox;
    struct page page;
    struct status status = sandboxes_get(service->sandboxes, project_id, request->sandbox_id,
                                         rpc_call_arena(call), &sandbox);

    if (status_is_ok(&status))
        status = page_init(&page, call, request->page_size, request->page_token, "cmd_");
    if (!status_is_ok(&status))
        return status;
    page.range.prefix = schema_key("cs", project_id, request->sandbox_id, "");
    status = page_read(&page, service->store, &response->next_page_token);
    response->commands = (Crownest__V1__Command **)page.items;
    for (size_t i = 0; i < page.count && status_is_ok(&status); i++) {
        status = read_command(call, page.items[i], &response->commands[i]);
        response->n_commands = i + 1;
    }
    return status;
}
